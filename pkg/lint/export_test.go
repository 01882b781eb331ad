package lint

// KnowsRule says whether a rule in CEL is one on names or texts that lint judges.
func KnowsRule(rule string) bool { return nameRule.MatchString(rule) || textRule.MatchString(rule) }
