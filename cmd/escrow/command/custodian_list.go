package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/verifier/document"
)

func custodianList(h *home) *cobra.Command {
	var from string
	cmd := leaf("list", "List the cases that wait for custodians, the one that expires first first", "escrow custodian list", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			c, err := h.open(ctx)
			if err != nil {
				return err
			}
			r, err := h.registrar()
			if err != nil {
				return err
			}
			out, err := r.Cases(ctx, c.Key(), from)
			if err != nil {
				return err
			}
			var text strings.Builder
			for _, s := range out.Cases {
				fmt.Fprintf(&text, "%s  %d of %d approved, expires %s\n", s.Case, s.Approvals, s.Quorum, s.Expires.UTC().Format(time.DateOnly))
			}
			if len(out.Cases) == 0 {
				text.WriteString("nothing waits for you")
			}
			if out.Next != "" {
				fmt.Fprintf(&text, "more wait: escrow custodian list --from %s\n", out.Next)
			}
			return h.print(out, document.Printable(text.String()))
		})
	cmd.Flags().StringVar(&from, "from", "", "go on where the page before ended, which named the place")
	return cmd
}
