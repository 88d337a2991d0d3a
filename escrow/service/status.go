package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/verifier/refusal"
)

var errStatus = refusal.New(refusal.Unavailable, "status.no_answer",
	"no service of this version answers at metrics_listen: see that it runs, with this configuration, and ask on its own machine")

// Status is how a running service is.
type Status struct {
	Version string    `json:"version"`
	Since   time.Time `json:"since"` // when it started to serve
	Origin  string    `json:"origin"`
	Parts   []Finding `json:"parts"`
}

// String is a status as text: a line about the service, then one for each part.
func (s Status) String() string {
	text := []string{fmt.Sprintf("%s, version %s, since %s", s.Origin, s.Version, s.Since.UTC().Format(time.RFC3339))}
	for _, f := range s.Parts {
		text = append(text, f.String())
	}
	return strings.Join(text, "\n")
}

// Version is that of the program, or of the commit that it was built from.
func Version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}

// Status says how each part is, as [Service.Ready] finds it, and what ends.
func (s *Service) Status(ctx context.Context) Status {
	ready := s.Ready(ctx)
	if k := s.Keeping; k != nil && k.Login != nil {
		ready["keep.snapshot"] = keep.SnapshotFresh(ctx, k.Keys, k.Store.NewestSnapshot, s.Now())
	}
	var all []Finding
	for _, part := range slices.Sorted(maps.Keys(ready)) {
		all = append(all, found(part, ready[part]))
	}
	return Status{Version: Version(), Since: s.since, Origin: s.Origin, Parts: ending(all, s.Lifetimes(), s.Now())}
}

func (s *Service) serveStatus(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s.Status(r.Context())) //nolint:errcheck // who asked has left
}

// Status asks the service that runs by this configuration how it is.
func (c *Config) Status(ctx context.Context) (status Status, err error) {
	if c.MetricsListen == "" {
		return status, c.placed(of("metrics_listen", errConfigMissing.Because(errors.New("it is missing: it says where a service tells its operator how it is"))))
	}
	ctx, cancel := context.WithTimeout(ctx, 3*readyTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.MetricsListen+"/status", nil)
	if err != nil {
		return status, c.placed(of("metrics_listen", errStatus))
	}
	res, err := http.DefaultClient.Do(req)
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
