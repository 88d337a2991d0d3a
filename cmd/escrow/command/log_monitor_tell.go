package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/verifier/proof"
)

// How long a monitor waits for what is not its own.
const (
	patience   = 10 * time.Second // for an answer of a webhook or a peer
	tries      = 3                // of a webhook, for each alarm and round
	betweenTry = time.Second      // doubled each time
	mayRun     = time.Minute      // for a program
	mayStand   = 10 * time.Minute // for a log of which no entry comes
	// mostTold bounds a round: the rest of the alarms are sent by the next.
	mostTold = 100
)

// teller sends alarms on.
type teller struct {
	*program
	webhook, command string
}

func (t *teller) add(c *cobra.Command) {
	c.Flags().StringVar(&t.webhook, "webhook", "", "address to which each alarm is posted as JSON, or a file that holds it")
	c.Flags().StringVar(&t.command, "command", "", "program, with arguments between spaces, to run for each alarm, which it reads from its standard input; no shell")
}

// check finds what can be wrong before there is an alarm.
func (t *teller) check() error {
	if t.webhook != "" && !strings.HasPrefix(t.webhook, "http://") && !strings.HasPrefix(t.webhook, "https://") {
		b, err := shell.ReadFile(t.webhook)
		if err != nil {
			return err
		}
		t.webhook = strings.TrimSpace(string(b))
	}
	if u, err := url.Parse(t.webhook); t.webhook != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return shell.UsageError("--webhook takes an address that begins with https:// or http://, or a file that holds one")
	}
	if fields := strings.Fields(t.command); t.command != "" {
		if len(fields) == 0 {
			return shell.UsageError("--command names no program")
		}
		if _, err := exec.LookPath(fields[0]); err != nil {
			return shell.UsageError("--command: there is no program %s", fields[0])
		}
	}
	return nil
}

// here are the outputs of this program.
const here = "output"

// names are those whom alarms are sent to.
func (t *teller) names() []string {
	names := []string{here}
	if t.webhook != "" {
		names = append(names, "webhook")
	}
	if t.command != "" {
		names = append(names, "command")
	}
	return names
}

// all sends what was not sent yet, and returns why some of it did not arrive. Whoever is not
// asked for any more is waited for no longer.
func (t *teller) all(ctx context.Context, s *monitorState) (failed error) {
	told := 0
	away := map[string]bool{} // one that does not answer is not asked for each alarm
	for _, r := range s.Alarms {
		var untold []string
		for _, name := range r.Untold {
			if name == here { // for the round to say
				untold = append(untold, name)
				continue
			}
			if !slices.Contains(t.names(), name) {
				continue
			}
			if told++; told > mostTold || away[name] || ctx.Err() != nil {
				untold = append(untold, name)
				continue
			}
			if err := t.one(ctx, name, s.Log, r); err != nil {
				untold, away[name] = append(untold, name), true
				failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
			}
		}
		r.Untold = untold
	}
	return failed
}

// told is the JSON of an alarm that is sent.
type told struct {
	Log   string    `json:"log"`
	Found time.Time `json:"found"`
	proof.Alarm
}

func (t *teller) one(ctx context.Context, name, log string, r *remembered) error {
	raw, err := json.Marshal(told{log, r.Found, r.Alarm})
	if err != nil {
		return err
	}
	if name == "webhook" {
		return t.post(ctx, raw)
	}
	if !t.json {
		raw = fmt.Appendf(nil, "The public log %s\nfound at %s\n\n%s\n", log, r.Found.Format(time.RFC3339), alarmText(r.Alarm))
	}
	return t.exec(ctx, raw)
}

// alarmText is an alarm for people.
func alarmText(a proof.Alarm) string {
	text := a.Kind + ": " + a.Text
	for _, file := range a.Evidence {
		text += "\n  evidence: " + file
	}
	return text
}

// post tries a few times. Its error does not hold the address, which can be a secret.
func (t *teller) post(ctx context.Context, body []byte) (err error) {
	wait := betweenTry
	for try := range tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
			wait *= 2
		}
		if err = t.postOnce(ctx, body); err == nil {
			return nil
		}
	}
	return err
}

func (t *teller) postOnce(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, t.webhook, bytes.NewReader(body))
	if err != nil {
		return errors.New("its address is none")
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", "penname-monitor")
	resp, err := t.HTTP.Do(q)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return err
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 64<<10) //nolint:errcheck // only so that the connection is used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// exec runs the program. What it prints goes to the standard error.
func (t *teller) exec(ctx context.Context, input []byte) error {
	ctx, cancel := context.WithTimeout(ctx, mayRun)
	defer cancel()
	fields := strings.Fields(t.command)
	c := exec.CommandContext(ctx, fields[0], fields[1:]...)
	c.WaitDelay = time.Second // a child of it may keep the pipes open
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(input), t.Stderr, t.Stderr
	return c.Run()
}
