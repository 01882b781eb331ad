package lint

// KnowsNameRule says whether a rule in CEL is one on names that lint judges.
func KnowsNameRule(rule string) bool { return nameRule.MatchString(rule) }
