package command

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/policy"
)

func reviewCommand() *cobra.Command {
	var dsn string
	c := &cobra.Command{
		Use: "review", Short: "Decide about enrolments that are held because somebody alike is enrolled",
		Long: "Decide about enrolments that are held because somebody alike is enrolled.\n\n" +
			"You see which marks agree, and never whose they are. The person names their\n" +
			"reference and shows documents, outside; keep nothing of them. Two reviewers of the\n" +
			"bundle in force have to say the same, each with a key of their own. The decision is\n" +
			"in the public log, without a name.",
	}
	c.AddCommand(reviewList(&dsn), reviewShow(&dsn),
		reviewDecide(&dsn, "accept", "Say that it is the person who is enrolled, with a new card or provider; seven days to object",
			"it is the person who is enrolled: they can object until %[2]s, and keep their pen names"),
		reviewDecide(&dsn, "separate", "Say that these are two people who look alike",
			"these are two people: the next proof of identity enrols the second"))
	databaseFlag(c, &dsn, "role penname_disclosing")
	return c
}

// withReviews opens the reviews for f.
func withReviews(cmd *cobra.Command, dsn string, f func(ctx context.Context, r *disclose.Reviews) error) error {
	if err := shell.Require(cmd, "database-file"); err != nil {
		return err
	}
	store, err := service.OpenDisclosingStore(cmd.Context(), dsn)
	if err != nil {
		return err
	}
	defer store.Close()
	rules := &disclose.Rules{Bundles: store.Bundles, Ceremonies: store.Ceremonies, Now: time.Now}
	return f(cmd.Context(), &disclose.Reviews{List: store.Reviews.List, Apply: store.Reviews.Apply, InForce: rules.Current, Now: time.Now})
}

// reviewJSON is a review as operators see it.
type reviewJSON struct {
	Reference string            `json:"reference"`
	State     string            `json:"state"`
	Held      string            `json:"held"` // day
	Alike     string            `json:"alike"`
	Marks     map[string]string `json:"marks"`
	From      string            `json:"from,omitempty"` // day
	Said      map[string]string `json:"said"`           // by reviewer
}

func reviewOf(r disclose.Review) reviewJSON {
	v := reviewJSON{Reference: r.ID, State: string(r.State), Held: r.Day.Format(time.DateOnly), Alike: "the name and birth date are known under another account", Marks: map[string]string{}, Said: map[string]string{}}
	if r.SameAccount {
		v.Alike = "the account is known under another birth date"
	}
	if r.Several {
		v.Alike += ", of several people"
	}
	for name, agrees := range map[string]*bool{"name": r.Name, "year of birth": r.Year, "whole birth date": r.Birthdate, "provider": r.Provider} {
		switch {
		case agrees == nil:
			v.Marks[name] = "not known"
		case *agrees:
			v.Marks[name] = "agrees"
		default:
			v.Marks[name] = "differs"
		}
	}
	if !r.Due.IsZero() {
		v.From = r.Due.Format(time.DateOnly)
	}
	for _, d := range r.Decisions {
		v.Said[d.Reviewer] = d.Outcome
	}
	return v
}

func (v reviewJSON) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  held on %s, now %s\n%s\n", v.Reference, v.Held, v.State, v.Alike)
	for _, mark := range []string{"name", "year of birth", "whole birth date", "provider"} {
		fmt.Fprintf(&b, "  %-17s%s\n", mark, v.Marks[mark])
	}
	if v.From != "" {
		fmt.Fprintf(&b, "an acceptance takes effect on %s\n", v.From)
	}
	said, err := json.Marshal(v.Said) // in the order of their names
	if err == nil && len(v.Said) > 0 {
		fmt.Fprintf(&b, "said: %s\n", strings.NewReplacer(`"`, "", "{", "", "}", "", ":", " ", ",", ", ").Replace(string(said)))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// reviewsShown is how many reviews a list has.
const reviewsShown = 500

func reviewList(dsn *string) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the enrolments that wait for a decision or for an objection", Args: cobra.NoArgs,
		Example: "  escrowd review list --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withReviews(cmd, *dsn, func(ctx context.Context, s *disclose.Reviews) error {
				found, err := s.List(ctx, []disclose.ReviewState{disclose.ReviewHeld, disclose.ReviewWaiting, disclose.ReviewObjected}, reviewsShown)
				if err != nil {
					return err
				}
				list, text := []reviewJSON{}, "no enrolment is held"
				for i, r := range found {
					if v := reviewOf(r); i == 0 {
						list, text = append(list, v), v.line()
					} else {
						list, text = append(list, v), text+"\n"+v.line()
					}
				}
				return say(cmd, list, "%s", text)
			})
		},
	}
}

func (v reviewJSON) line() string {
	return fmt.Sprintf("%s  %-9s since %s  %s", v.Reference, v.State, v.Held, v.Alike)
}

func reviewShow(dsn *string) *cobra.Command {
	return &cobra.Command{
		Use: "show REFERENCE", Short: "Show which marks of an enrolment that is held agree with those of who is enrolled", Args: cobra.ExactArgs(1),
		Example: "  escrowd review show k3v7q2nmd5xa --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withReviews(cmd, *dsn, func(ctx context.Context, s *disclose.Reviews) error {
				r, err := s.Review(ctx, strings.ToLower(args[0]))
				if err != nil {
					return err
				}
				return say(cmd, reviewOf(r), "%s", reviewOf(r))
			})
		},
	}
}

// reviewDecide is the command of an outcome, which has its name (package proof).
func reviewDecide(dsn *string, outcome, short, decided string) *cobra.Command {
	var keyFile, reviewer string
	c := &cobra.Command{
		Use: outcome + " REFERENCE", Short: short, Args: cobra.ExactArgs(1),
		Example: "  escrowd review " + outcome + " k3v7q2nmd5xa --reviewer alma --key alma.jwk --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := shell.Require(cmd, "reviewer", "key"); err != nil {
				return err
			}
			key, err := secretfile.ReadKey(keyFile)
			if err != nil {
				return err
			}
			return withReviews(cmd, *dsn, func(ctx context.Context, s *disclose.Reviews) error {
				b, err := s.InForce(ctx)
				if err != nil {
					return err
				}
				signed, err := policy.SignReviewDecision(key, policy.ReviewDecision{At: s.Now(), Bundle: b.Hash(), Outcome: outcome, Review: strings.ToLower(args[0]), Reviewer: reviewer})
				if err != nil {
					return err
				}
				r, err := s.Decide(ctx, signed)
				if err != nil {
					return err
				}
				if r.State == disclose.ReviewHeld || r.State == disclose.ReviewObjected {
					return say(cmd, reviewOf(r), "%s: noted; a second reviewer has to say the same", r.ID)
				}
				return say(cmd, reviewOf(r), "%[1]s: "+decided, r.ID, reviewOf(r).From)
			})
		},
	}
	c.Flags().StringVar(&reviewer, "reviewer", "", "your id in the bundle in force")
	c.Flags().StringVar(&keyFile, "key", "", "file (mode 0600) with your secret key, a JWK: escrow key new")
	return c
}
