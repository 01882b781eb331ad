//go:build unix

package main

// script is the main job, and what the host refuses.
var script = []step{
	{
		say: "A federation with rules: members name their region, out of three and for good, and their team.",
		run: "kubectl federate create federation prod" +
			" --require-label topology.kubernetes.io/region=us-east-1,us-west-2,eu-west-1" +
			" --immutable-label topology.kubernetes.io/region" +
			" --require-label example.com/team --label-pattern 'example.com/team=[a-z]+' --max 100",
	},
	{run: "kubectl federate create federation edge"},
	{
		say: "A cluster says itself where it belongs: a label on the cluster, which gives nothing by itself.",
		run: "kubectl federate label --member-context us-west --federation edge",
	},
	{say: "The label is found,", run: "kubectl federate discover"},
	{say: "and fulfilled by a normal join, with the caller's own rights.", run: "kubectl federate discover --join"},
	{
		say: "Another cluster is joined directly. First what it would do: everything is read and judged, nothing is written.",
		run: "kubectl federate join us-east --federation prod --member-context us-east --labels example.com/team=web --dry-run=server",
	},
	{run: "kubectl federate join us-east --federation prod --member-context us-east --labels example.com/team=web"},
	{
		say: "The fleet. Region and zones were read from the nodes; the credential has an end.",
		run: "kubectl federate get -o wide",
	},
	{
		say:  "Refused: a mistyped federation;",
		run:  "kubectl federate join eu-west --federation prdo --member-context eu-west --labels example.com/team=web",
		code: 2,
	},
	{
		say:  "a missing label;",
		run:  "kubectl federate join eu-west --federation prod --member-context eu-west",
		code: 2,
	},
	{
		say:  "one cluster under two names;",
		run:  "kubectl federate join other --federation prod --member-context us-east --labels example.com/team=web",
		code: 2,
	},
	{
		say:  "a user without the right to join;",
		run:  "kubectl federate join eu-west --federation prod --member-context eu-west --labels example.com/team=web --context bob",
		code: 2,
	},
	{
		say:  "the same for every other client: a label that may not change, by plain kubectl;",
		run:  "kubectl label membercluster us-east topology.kubernetes.io/region=eu-west-1 --overwrite",
		code: 1,
	},
	{
		say:  "deleting a federation with members.",
		run:  "kubectl delete federation prod",
		code: 1,
	},
	{
		say: "Leaving: what the host may do is revoked, and everything that join created goes.",
		run: "kubectl federate unjoin us-east --member-context us-east",
	},
	{run: "kubectl federate unjoin us-west --member-context us-west --drop-label"},
	{run: "kubectl delete federation prod edge"},
	{run: "kubectl federate deinit"},
}
