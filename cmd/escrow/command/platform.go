package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/verifier/integration"
)

// platform is `escrow platform`: what a platform can do for itself.
func platform(p *program) *cobra.Command {
	return group("platform", "Help a platform with its sign-in, and sign what it has to", platformDoctor(p), platformCountersign(p))
}

func platformDoctor(p *program) *cobra.Command {
	var s integration.Subject
	c := leaf("doctor ADDRESS", "Examine from outside how a platform signs people in, and say how to mend it",
		"escrow platform doctor https://platform.example/login", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			s.Start, s.HTTP, s.Now = args[0], p.HTTP, p.Now
			report, err := integration.Examine(ctx, s)
			if err != nil {
				return err
			}
			if err := p.print(report, report.String()); err != nil {
				return err
			}
			if report.Wrong() {
				return integration.ErrWrong
			}
			return nil
		})
	c.Long = "doctor begins sign-ins as a browser would and looks at the issuer, the request, the\n" +
		"cookies and the callback. It completes no sign-in and needs no credentials. ADDRESS is\n" +
		"where the sign-in button leads to, or the page that has it."
	c.Flags().StringVar(&s.Button, "button", "", "text of the sign-in button, if the page has several")
	c.Flags().StringVar(&s.Callback, "callback", "", "address at which sign-ins come back, if the request is pushed and does not show it")
	c.Flags().StringVar(&s.Logout, "logout", "", "address at the platform that signs people out")
	c.Flags().StringVar(&s.BackChannelLogout, "back-channel-logout", "", "address at the platform that the issuer tells of logouts")
	c.Flags().StringVar(&s.Origin, "origin", "", "origin whose scripts call the issuer, for example https://app.example")
	return c
}
