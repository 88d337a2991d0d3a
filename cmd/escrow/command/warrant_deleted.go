package command

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/verifier/opening"
)

func warrantDeleted(p *program) *cobra.Command {
	var key, text string
	c := leaf("deleted CASE", "State that what was delivered of a case is deleted",
		"escrow warrant deleted CASE --text 'Deleted from the file and from the backups.' --key requester.key --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if err := require([2]string{"key", key}, [2]string{"text", text}); err != nil {
				return err
			}
			if err := opening.CheckDeletion(text); err != nil {
				return err
			}
			private, err := requester.ReadKey(key)
			if err != nil {
				return err
			}
			r, err := p.registrar()
			if err != nil {
				return err
			}
			st, err := sayDeleted(ctx, r, args[0], private, text, func() error { return nil })
			if err != nil {
				return err
			}
			return p.print(st, st.At(p.Now()))
		})
	c.Long = "States that what was delivered of a case is deleted: once its use is forbidden, because a court\n" +
		"annulled the order or an emergency lapsed, or when it is not needed any more. The statement stands with the case as the requester's word, and the public\n" +
		"log says that there is one. Only who can open the package can make it; nobody can check that it is true.\n" +
		"It is made once: it cannot be changed or taken back, so read it before you send it."
	c.Flags().StringVar(&key, "key", "", "file with the requester's secret delivery key (mode 0600)")
	c.Flags().StringVar(&text, "text", "", "what was deleted and when, in your words; whoever knows the case's id can read it")
	return c
}

// sayDeleted states that what was delivered of a case is deleted, once confirm agrees: it is
// asked when everything but that is done.
func sayDeleted(ctx context.Context, r *registrar.Client, id string, private requester.Key, text string, confirm func() error) (registrar.CaseStatus, error) {
	none := registrar.CaseStatus{}
	sealed, err := r.Package(ctx, id)
	if said := (*registrar.Problem)(nil); errors.As(err, &said) && said.Code == "warrant.quorum_not_met" {
		return none, requester.ErrNothingDelivered
	}
	if err != nil {
		return none, err
	}
	d, err := requester.Unseal(id, sealed, private)
	if err != nil {
		return none, err
	}
	receipt, err := d.Receipt()
	if err != nil {
		return none, err
	}
	if err := confirm(); err != nil {
		return none, err
	}
	mac := opening.DeletionMAC(receipt, text)
	return r.SayDeleted(ctx, id, registrar.Deletion{Statement: text, MAC: mac[:]})
}
