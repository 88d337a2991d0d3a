package command

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

func warrantRedeliver(p *program) *cobra.Command {
	var f signFlags
	var to, name, why string
	c := leaf("redeliver WARRANT", "Sign that what a production ordered is delivered again, to another delivery key of its requester: theirs is lost",
		"escrow warrant redeliver warrant.jws --delivery-key pendk1.… --grounds 'The disk with the key broke.' --key court.jwk --bundle bundle.json --out again.jws",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if err := f.needed("key"); err != nil {
				return err
			}
			if err := require([2]string{"delivery-key", to}, [2]string{"grounds", why}); err != nil {
				return err
			}
			k, done, err := f.open(ctx, p)
			if err != nil {
				return err
			}
			defer done()
			raw, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			b, err := f.rules(p)
			if err != nil {
				return err
			}
			earlier := strings.TrimSpace(string(raw))
			w, err := redeliveryOf(earlier, to, name, why)
			if err != nil {
				return err
			}
			return f.sign(p, k, b, w, earlier)
		})
	c.Long = "Signs an order that repeats a production word for word, for another delivery key of the same requester, and\n" +
		"says why. File it like that one, with the same evidence and what was published. It is a case of its own: custodians\n" +
		"see that it repeats an order and which key takes the place of which, read and decide again, and the log records\n" +
		"it as a redelivery. Its targets are counted once, with the order that it repeats, and what that order has lost\n" +
		"since (a pen name that was declined, withdrawn, annulled) is not delivered again.\n\n" +
		"It must be filed before that order expires. If the old key may be in other hands and nothing was released yet,\n" +
		"withdraw the old order too, once this one is filed. For an emergency or a link sign a new order."
	f.add(c)
	c.Flags().StringVar(&to, "delivery-key", "", "the new key: what escrow warrant keygen printed for the requester, or a file with it")
	c.Flags().StringVar(&name, "requester", "", "the new requester's name, of the same organisation (default: as in the warrant)")
	c.Flags().StringVar(&why, "grounds", "", "why the key is replaced")
	return c
}

// redeliveryOf drafts the order to deliver again: to a key, or the one in a file.
func redeliveryOf(earlier, to, name, why string) (*policy.Warrant, error) {
	if document.CheckDeliveryKey(to) != nil {
		public, err := deliveryKey(to)
		if err != nil {
			return nil, err
		}
		to = public
	}
	return policy.Redeliver(earlier, to, name, why)
}
