package service

import (
	"context"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/verifier/refusal"
)

var errConfigLogLevel = refusal.New(refusal.Invalid, "config.bad_log_level",
	"log_level must be debug, info, warn or error: what is less than that is not written")

// levels are the words for what is written to the log.
var levels = map[string]slog.Level{"": slog.LevelInfo, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

// NewLog returns a log of one JSON object a line. A duration has its unit: "12ms".
func NewLog(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().Round(time.Millisecond).String())
		}
		return a
	}}))
}

// Version is which program this is: its module's version, or "(devel)".
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}

// sayServing writes what an operator wants to know first of a process.
func (s *Service) sayServing(address net.Addr) {
	var sides []string
	if s.Issuing != nil {
		sides = append(sides, sideIssue)
	}
	if s.Disclosing != nil {
		sides = append(sides, sideDisclose)
	}
	if s.Keeping != nil {
		sides = append(sides, sideKeep)
	}
	attrs := []any{slog.String("version", Version()), slog.String("origin", s.Origin), slog.Any("sides", sides), slog.String("address", address.String())}
	if s.config != nil && s.config.MetricsListen != "" {
		attrs = append(attrs, slog.String("metrics", s.config.MetricsListen))
	}
	if s.rules != nil {
		if b, err := s.rules.known(); err == nil {
			attrs = append(attrs, slog.String("bundle", b.Hash()))
		}
	}
	if schema, err := postgres.SchemaVersion(); err == nil {
		attrs = append(attrs, slog.Int64("schema", schema))
	}
	s.Log.Info("serving", attrs...)
}

func (s *Service) loadLogLevel(_ context.Context, c *Config) error {
	if s.level != nil {
		s.level.Set(levels[c.LogLevel])
	}
	return nil
}

func (c *Config) logLevel() (settings any, files []string) { return c.LogLevel, nil }
