package service

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/verifier/refusal"
)

var errStatus = refusal.New(refusal.Unavailable, "status.no_answer",
	"no service of this version answers at metrics_listen: see that it runs, with this configuration, and ask on its own machine")

var errStatusCertificate = refusal.New(refusal.Denied, "status.certificate_needed",
	"who asks at metrics_listen shows a certificate that an authority of metrics_client_ca_file signed: name it and its key with --client-cert and --client-key")

// oldCheckpoint is when a tree is old: it is cosigned anew every minute. The alarm
// PennameCheckpointOld has the same.
const oldCheckpoint = 5 * time.Minute

var errOldCheckpoint = refusal.New(refusal.Unavailable, "log.checkpoint_old",
	"the newest tree of the public log that this process knows was cosigned more than five minutes ago, and at rules_max_age_minutes everything stops: see on the disclosing side which witnesses are away, and that this process reaches that side")

// Status is how a running service is.
type Status struct {
	Version string    `json:"version"`
	Since   time.Time `json:"since"` // when it started to serve
	Origin  string    `json:"origin"`
	Config  string    `json:"config,omitempty"` // the file that it runs by
	Listen  string    `json:"listen,omitempty"` // where people and platforms reach it
	// where the public record is served, if that is another address
	RecordListen string           `json:"record_listen,omitempty"`
	Parts        []Finding        `json:"parts"`
	Pending      map[string]int64 `json:"pending"` // how much there is to be done, by what; none of it by name
}

// String is a status as text: a line about the service, one for each part, one of what
// is to be done.
func (s Status) String() string {
	text := []string{fmt.Sprintf("%s, version %s, since %s", s.Origin, s.Version, s.Since.UTC().Format(time.RFC3339))}
	for _, f := range s.Parts {
		text = append(text, f.String())
	}
	for _, what := range slices.Sorted(maps.Keys(s.Pending)) {
		text = append(text, fmt.Sprintf("%-9d  %s", s.Pending[what], what))
	}
	return strings.Join(text, "\n")
}

// Status says how each part is, as [Service.Ready] finds it, and what ends.
func (s *Service) Status(ctx context.Context) Status {
	ready := s.Ready(ctx)
	if k := s.Keeping; k != nil && k.Login != nil {
		ready["keep.snapshot"] = keep.SnapshotFresh(ctx, k.Store.NewestSnapshot, s.Now())
	}
	ready["log"] = s.cosigned()
	var all []Finding
	for _, part := range slices.Sorted(maps.Keys(ready)) {
		all = append(all, found(part, ready[part]))
	}
	all = append(all, s.away()...)
	if now := s.live.registered.Load(); now != nil {
		all = append(all, now.findings()...)
	}
	status := Status{Version: Version(), Since: s.since, Origin: s.Origin, Parts: append(ending(all, s.Lifetimes(), s.Now()), s.nextStart()...), Pending: s.sightings.now(s).pending()}
	if s.config != nil {
		status.Config, status.Listen, status.RecordListen = s.config.path(), s.config.Listen, s.config.RecordListen
	}
	return status
}

// path is the configuration's file, however it was named.
func (c *Config) path() string {
	path, err := filepath.Abs(c.file)
	if err != nil {
		return c.file
	}
	return path
}

// nextStart is a finding for each change that was refused: what was there before is in
// force, until the next start.
func (s *Service) nextStart() (all []Finding) {
	s.live.refused.Range(func(what, change any) bool {
		f := found(what.(string)+" at the next start", change.(refusedChange).err)
		f.Mark = Warning
		all = append(all, f)
		return true
	})
	slices.SortFunc(all, func(a, b Finding) int { return strings.Compare(a.Part, b.Part) })
	return all
}

// cosigned refuses a tree of the public log that too few witnesses cosigned, or that was
// cosigned long ago.
func (s *Service) cosigned() error {
	if s.publisher != nil {
		cosigned, quorum, all := s.publisher.Cosigned()
		if _, tried := s.publisher.Away(); tried && cosigned < quorum {
			return translog.ErrQuorum.Because(fmt.Errorf("%d of %d witnesses cosigned, and %d have to", cosigned, all, quorum))
		}
	}
	if at := s.rules.history.Cosigned(); !at.IsZero() && s.Now().Sub(at) > oldCheckpoint {
		return errOldCheckpoint.Because(fmt.Errorf("%s ago", s.Now().Sub(at).Round(time.Second)))
	}
	return nil
}

// away is a finding for each witness that did not cosign when this process last
// published. The quorum may do without it.
func (s *Service) away() (all []Finding) {
	if s.publisher == nil {
		return nil
	}
	away, _ := s.publisher.Away()
	for _, name := range slices.Sorted(maps.Keys(away)) {
		f := found("witness "+name, away[name])
		if errors.Is(away[name], translog.ErrWitness) {
			f.Mark = Warning
		}
		all = append(all, f)
	}
	return all
}

// pending is what the metrics say of it. Erasures and reviews count from the next day on.
func (seen sighting) pending() map[string]int64 {
	all := make(map[string]int64)
	if d := seen.docket; d != nil {
		all["notices that are due"], all["enrolments that wait for reviewers"] = d.NoticesDue, d.Reviews
	}
	for side, w := range seen.mails {
		all["mails of the side "+side+" that wait since an hour or longer"] = w.Mails
	}
	if e := seen.erasures; e != nil {
		all["erasures that are asked for"] = e.pending
	}
	return all
}

func (s *Service) serveStatus(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s.Status(r.Context())) //nolint:errcheck // who asked has left
}

// Status asks the service that runs by this configuration how it is. Where it wants to
// see a certificate of who asks, that is in client.
func (c *Config) Status(ctx context.Context, client ...tls.Certificate) (status Status, err error) {
	if c.MetricsListen == "" {
		return status, c.placed(of("metrics_listen", errConfigMissing.Because(errors.New("it is missing: it says where a service tells its operator how it is"))))
	}
	ctx, cancel := context.WithTimeout(ctx, 3*readyTime)
	defer cancel()
	transport, scheme := &http.Transport{DisableKeepAlives: true}, "http"
	if c.MetricsClientCA != "" {
		scheme, transport.TLSClientConfig = "https", &tls.Config{MinVersion: tls.VersionTLS13, Certificates: client, InsecureSkipVerify: true, VerifyConnection: c.isOurs} //nolint:gosec // it is compared with the one of the configuration
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+c.MetricsListen+"/status", nil)
	if err != nil {
		return status, c.placed(of("metrics_listen", errStatus))
	}
	res, err := transport.RoundTrip(req)
	var op *net.OpError
	if scheme == "https" && errors.As(err, &op) && op.Op != "dial" { // it hung up on who we are
		return status, c.placed(of("metrics_client_ca_file", errStatusCertificate.Because(err)))
	}
	if err != nil {
		return status, c.placed(of("metrics_listen", errStatus.Because(err)))
	}
	defer res.Body.Close()
	err = json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&status)
	if err != nil || res.StatusCode != http.StatusOK || status.Version == "" {
		return status, c.placed(of("metrics_listen", errStatus.Because(errors.New("something else answers there: "+res.Status))))
	}
	return status, nil
}

// isOurs refuses who shows another certificate than tls_cert.
func (c *Config) isOurs(state tls.ConnectionState) error {
	ours, err := c.certificate()
	if err != nil {
		return err
	}
	if !bytes.Equal(ours.Certificate[0], state.PeerCertificates[0].Raw) {
		return errors.New("who answers has another certificate than tls_cert")
	}
	return nil
}
