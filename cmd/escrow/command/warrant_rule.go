package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/policy"
)

func warrantAnswer(p *program) *cobra.Command {
	f := followUp{other: true}
	var question string
	c := leaf("answer WARRANT", "Sign the answer to a custodian's question about a warrant; file that like any warrant",
		"escrow warrant answer warrant.jws --question 5f0c… --grounds 'The post of 3 March is meant.' --key court.jwk --bundle bundle.json --out answer.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			if err := require([2]string{"question", question}); err != nil {
				return err
			}
			return f.run(p, policy.Ruling, args[0], ruledOn(question, policy.Answered))
		})
	c.Long = "Signs the answer of a court to a custodian's question, which escrow warrant status CASE --key shows\n" +
		"with its digest. Once it is filed, custodians read it in their review. It changes nothing that the\n" +
		"warrant says: to change that, withdraw it and file another."
	f.add(c, "what is answered: the answer itself")
	c.Flags().StringVar(&question, "question", "", "digest of the question, 64 hex digits, as the status of the case shows it")
	return c
}

func warrantRule(p *program) *cobra.Command {
	f := followUp{other: true}
	var objection string
	var upheld, dismissed bool
	c := leaf("rule WARRANT", "Sign that an objection to a warrant is upheld, wholly or for some pen names, or dismissed; file that like any warrant",
		"escrow warrant rule warrant.jws --objection 9a41… --upheld --grounds 'The post is no threat.' --key court.jwk --bundle bundle.json --out ruling.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			if err := require([2]string{"objection", objection}); err != nil {
				return err
			}
			if upheld == dismissed {
				return shell.UsageError("say what becomes of the objection, with --upheld or with --dismissed")
			}
			outcome := policy.Upheld
			if dismissed {
				outcome = policy.Dismissed
			}
			return f.run(p, policy.Ruling, args[0], ruledOn(objection, outcome))
		})
	c.Long = "Signs what a court decides about an objection. Upheld, the warrant falls for the pen names that\n" +
		"--target names, that of who objected among them, or for all: what is not released stays sealed, and what was released may not be\n" +
		"used. Dismissed, the warrant goes on. The court that issued the warrant may rule, and one over it."
	f.add(c, "so")
	f.some(c)
	c.Flags().StringVar(&objection, "objection", "", "digest of the objection, 64 hex digits")
	c.Flags().BoolVar(&upheld, "upheld", false, "the warrant falls")
	c.Flags().BoolVar(&dismissed, "dismissed", false, "the warrant goes on")
	return c
}

// ruledOn makes a ruling one on the question or objection of that digest.
func ruledOn(digest, outcome string) func(w *policy.Warrant) {
	return func(w *policy.Warrant) { w.Ruling = &policy.RulingOn{Digest: digest, Outcome: outcome} }
}
