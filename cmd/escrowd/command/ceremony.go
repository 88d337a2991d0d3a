package command

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errCard = refusal.New(refusal.Invalid, "ceremony.bad_card",
		"a card is not what `escrow custodian init` or `escrow custodian card` prints: ask the custodian for it again")
	errNotCustodian = refusal.New(refusal.Invalid, "ceremony.not_a_custodian",
		"a dealer is not a custodian of the bundle: only those who hold a share can move the key")
)

// ceremonyCommand is what the operator does in a key ceremony: carry paper. No
// secret passes here that is not encrypted to a custodian.
func ceremonyCommand() *cobra.Command {
	var dsn string
	c := &cobra.Command{Use: "ceremony", Short: "Host the custodians' key ceremonies: plan, message board, transcript"}
	databaseFlag(c, &dsn, "role penname_disclosing")
	c.AddCommand(ceremonyPlan(), ceremonyOpen(), ceremonyPublish(), ceremonyBundle(), ceremonyServe())
	return c
}

// withBoard opens the message board in the database.
func withBoard(cmd *cobra.Command, f func(*disclose.Board) error) error {
	if err := shell.Require(cmd, "database-file"); err != nil {
		return err
	}
	store, err := service.OpenDisclosingStore(cmd.Context(), cmd.Flag("database-file").Value.String())
	if err != nil {
		return err
	}
	defer store.Close()
	return f(&disclose.Board{Ceremonies: store.Ceremonies, Now: time.Now})
}

func ceremonyPlan() *cobra.Command {
	var seats, dealers []string
	var bundle string
	var quorum int
	var out shell.Out
	c := &cobra.Command{
		Use: "plan", Short: "Write a plan from the custodians' cards; its hash is what they compare",
		Example: "  escrowd ceremony plan --threshold 2 --seat alba.json --seat bruno.json --seat chidi.json --out plan.json\n" +
			"  escrowd ceremony plan --threshold 2 --seat bruno.json --seat chidi.json --seat dora.json --bundle bundle.json --dealer bruno.json --dealer chidi.json --out plan.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shell.Require(cmd, "threshold", "seat"); err != nil {
				return err
			}
			if quorum < 2 || quorum > len(seats) {
				return shell.UsageError("--threshold must be from 2 to the number of seats, which is %d", len(seats))
			}
			p, err := newPlan(quorum, seats, bundle, dealers)
			if err != nil {
				return err
			}
			raw, err := p.Marshal()
			if err != nil {
				return err
			}
			if err := ceremony.CheckPlan(p); err != nil {
				return err
			}
			if err := out.WriteFile(raw); err != nil {
				return err
			}
			sum := sha256.Sum256(raw)
			hash := hex.EncodeToString(sum[:])
			return say(cmd, map[string]string{"plan": hash, "file": out.File}, "plan %s", hash)
		},
	}
	c.Flags().IntVar(&quorum, "threshold", 0, "how many custodians of the new set open together")
	c.Flags().StringArrayVar(&seats, "seat", nil, "card of a custodian of the new set, in the order of their indices")
	c.Flags().StringVar(&bundle, "bundle", "", "resharing: the bundle in force, whose key moves")
	c.Flags().StringArrayVar(&dealers, "dealer", nil, "resharing: card of a custodian in force who moves the key, as many as the threshold in force")
	out.Flags(c, "plan.json", "file to write")
	return c
}

func newPlan(quorum int, seats []string, bundle string, dealers []string) (*policy.CeremonyPlan, error) {
	var nonce [32]byte
	rand.Read(nonce[:]) // never fails (crypto/rand)
	p := &policy.CeremonyPlan{Version: 1, Nonce: hex.EncodeToString(nonce[:]), Threshold: quorum}
	for i, name := range seats {
		s, err := readCard(name)
		if err != nil {
			return nil, err
		}
		s.Index = i + 1
		p.Receivers = append(p.Receivers, s)
	}
	if bundle == "" {
		return p, nil
	}
	raw, err := shell.ReadFile(bundle)
	if err != nil {
		return nil, err
	}
	b, err := policy.ParseBundle(raw)
	if err != nil {
		return nil, err
	}
	p.Previous = b.ThresholdKey
	byIndex := map[int]policy.Seat{}
	for _, name := range dealers {
		s, err := readCard(name)
		if err != nil {
			return nil, err
		}
		c := b.Custodian(s.ID)
		if c == nil {
			return nil, errNotCustodian
		}
		s.Index = c.Index
		byIndex[c.Index] = s
	}
	for i := range len(b.Custodians) {
		if s, ok := byIndex[i+1]; ok {
			p.Dealers = append(p.Dealers, s)
		}
	}
	return p, nil
}

func readCard(name string) (s policy.Seat, err error) {
	raw, err := shell.ReadFile(name)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, errCard.Because(err)
	}
	var p threshold.Participant
	if p.UnmarshalText([]byte(s.Ceremony)) != nil || s.ID == "" {
		return s, errCard
	}
	return s, nil
}

func ceremonyOpen() *cobra.Command {
	return &cobra.Command{
		Use: "open PLAN", Short: "Let the participants of a plan use the message board", Args: cobra.ExactArgs(1),
		Example: "  escrowd ceremony open plan.json --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := shell.ReadFile(args[0])
			if err != nil {
				return err
			}
			return withBoard(cmd, func(b *disclose.Board) error {
				hash, err := b.Open(cmd.Context(), raw)
				if err != nil {
					return err
				}
				return say(cmd, map[string]string{"plan": hash}, "open: %s", hash)
			})
		},
	}
}

func ceremonyPublish() *cobra.Command {
	var out shell.Out
	c := &cobra.Command{
		Use: "publish HASH", Short: "Close a ceremony that will not go on, with its transcript in the public log; a complete one is there already", Args: cobra.ExactArgs(1),
		Example: "  escrowd ceremony publish 3f29… --database-file /etc/penname/disclosing.dsn --out transcript.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBoard(cmd, func(b *disclose.Board) error {
				c, err := b.Publish(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if out.File != "" {
					if err := out.WriteFile(c.Transcript); err != nil {
						return err
					}
				}
				hash := ceremony.Hash(c.Transcript)
				return say(cmd, map[string]any{"entry": c.Leaf, "transcript": hash}, "in the public log at entry %d: transcript %s", c.Leaf, hash)
			})
		},
	}
	out.Flags(c, "", "file to write the transcript to")
	return c
}

func ceremonyBundle() *cobra.Command {
	var from, after string
	var cards []string
	var out shell.Out
	c := &cobra.Command{
		Use: "bundle TRANSCRIPT", Short: "Write the bundle that follows from a ceremony: its custodians, threshold and key, all else as before or as drafted", Args: cobra.ExactArgs(1),
		Example: "  escrowd ceremony bundle transcript.json --from bundle.json --out next.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			transcript, err := shell.ReadFile(args[0])
			if err != nil {
				return err
			}
			b, err := readDraft(from)
			if err != nil {
				return err
			}
			if err := seatCustodians(b, transcript); err != nil {
				return err
			}
			if whole(from) && after == "" {
				after = from
			}
			if err := succeed(b, after, cards); err != nil {
				return err
			}
			return writeBundle(cmd, b, out)
		},
	}
	c.Flags().StringVar(&from, "from", "bundle.json", "the bundle in force; for the first one a draft, without custodians, threshold and key")
	afterFlag(c, &after)
	cardsFlag(c, &cards)
	out.Flags(c, "next.json", "file to write")
	return c
}

// whole reports whether a file holds a bundle as it was endorsed, and no draft.
func whole(name string) bool {
	raw, err := shell.ReadFile(name)
	if err != nil {
		return false
	}
	_, err = policy.ParseBundle(raw)
	return err == nil
}

// seatCustodians puts the outcome of a ceremony into a bundle.
func seatCustodians(b *policy.Bundle, transcript []byte) error {
	plan, key, err := ceremony.Result(transcript)
	if err != nil {
		return err
	}
	b.Threshold, b.ThresholdKey, b.Ceremony = plan.Threshold, key, ceremony.Hash(transcript)
	var seats []policy.Custodian
	for _, s := range plan.Receivers {
		seats = append(seats, policy.Custodian{ID: s.ID, Name: s.Name, Organisation: s.Organisation, Index: s.Index, Key: s.Key, Recipient: s.Recipient})
	}
	seat(b, seats)
	return nil
}

func ceremonyServe() *cobra.Command {
	var listen, cert, key string
	var proxies []string
	c := &cobra.Command{
		Use: "serve", Short: "Serve the message board alone: for the first ceremony, whose key the first bundle names",
		Example: "  escrowd ceremony serve --listen :8443 --tls-cert cert.pem --tls-key key.pem --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := boardTLS(listen, cert, key)
			if err != nil {
				return err
			}
			return withBoard(cmd, func(b *disclose.Board) error {
				ln, err := service.Listen(listen)
				if err != nil {
					return err
				}
				scheme := "http"
				if config != nil {
					ln, scheme = tls.NewListener(ln, config), "https"
				}
				origin := scheme + "://" + ln.Addr().String()
				h, err := service.NewMessageBoard(origin, b, proxies, service.NewLog(cmd.ErrOrStderr(), slog.LevelInfo))
				if err != nil {
					return err
				}
				if err := say(cmd, map[string]string{"address": origin}, "message board at %s", origin); err != nil {
					return err
				}
				return service.Serve(cmd.Context(), ln, h)
			})
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address to listen on")
	c.Flags().StringVar(&cert, "tls-cert", "", "certificate, PEM; needed unless the address is loopback")
	c.Flags().StringVar(&key, "tls-key", "", "its key, PEM")
	c.Flags().StringSliceVar(&proxies, "trusted-proxies", nil, "addresses and networks of proxies before it, as in the configuration")
	return c
}

// boardTLS is the certificate that the board is served with, nil on a loopback
// address without one.
func boardTLS(listen, cert, key string) (*tls.Config, error) {
	if host, _, err := net.SplitHostPort(listen); cert == "" && err == nil && document.Localhost(host) {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, service.ErrSecretFile.Because(errors.New("--tls-cert and --tls-key: only loopback goes without"))
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}, nil
}
