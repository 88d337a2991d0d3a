package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// TestJobs: every row is whole, and says what a person can tell from the others.
func TestJobs(t *testing.T) {
	seen := map[string]bool{}
	for _, j := range Jobs {
		if j.Name == "" || seen[j.Name] || j.Every <= 0 || j.What == "" || j.Do == nil {
			t.Errorf("%+v", j)
		}
		seen[j.Name] = true
	}
}

// TestJobOfNoSide: a process without a side leaves that side's part to another.
func TestJobOfNoSide(t *testing.T) {
	s := &Service{}
	for _, j := range Jobs {
		if err := j.Do(s, t.Context()); err != nil {
			t.Errorf("%s: %v", j.Name, err)
		}
	}
}

// TestWokenJobShowsNowhere: a job that people wake is done at once, and neither the log nor
// the metrics tell when.
func TestWokenJobShowsNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logs bytes.Buffer
		s := &Service{Parts: Parts{Log: slog.New(slog.NewJSONHandler(&logs, nil))}}
		n, wake := 0, make(chan struct{}, 1)
		j := Job{Name: "waking", Every: time.Minute, Wake: func(*Service) <-chan struct{} { return wake }, Do: func(*Service, context.Context) error {
			if n++; n == 2 {
				return errors.New("somebody came")
			}
			return nil
		}}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.repeat(ctx, j); close(ended) }()
		<-time.After(30 * time.Second)
		wake <- struct{}{}
		synctest.Wait()
		if done := s.done.all()[j.Name]; n != 2 || time.Since(done.last) != 30*time.Second || len(done.failures) != 0 || logs.Len() != 0 {
			t.Errorf("done %d times: %+v, %s", n, done, logs.String())
		}
		<-time.After(30 * time.Second)
		synctest.Wait()
		if done := s.done.all()[j.Name]; n != 3 || time.Since(done.last) != 0 {
			t.Errorf("done %d times: %+v", n, done)
		}
		stop()
		<-ended
	})
}

// TestNothingTellsHowLongAJobTook: by that of the one that puts rows into order, whoever reads
// the metrics would count who came in the hour.
func TestNothingTellsHowLongAJobTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Service{}
		ctx, stop := context.WithCancel(t.Context())
		go s.repeat(ctx, Job{Name: "long", Every: time.Hour, Do: func(*Service, context.Context) error { time.Sleep(7 * time.Minute); return nil }})
		time.Sleep(90 * time.Minute)
		if since := time.Since(s.done.all()["long"].last); since != 30*time.Minute {
			t.Errorf("%s, where it began 30 minutes ago", since)
		}
		stop()
	})
}

// TestJobIsRepeated: a job runs at once and after each interval. One that fails is
// named in the log, by its code, and tried again.
func TestJobIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logs bytes.Buffer
		s := &Service{Parts: Parts{Log: slog.New(slog.NewJSONHandler(&logs, nil))}}
		down := refusal.New(refusal.Unavailable, "test.down", "wait")
		n := 0
		j := Job{Name: "counting", Every: time.Minute, Do: func(*Service, context.Context) error {
			if n++; n == 1 {
				return down.Because(errors.New("the first time"))
			}
			return nil
		}}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.repeat(ctx, j); close(ended) }()
		for _, want := range []int{1, 2, 3} {
			synctest.Wait()
			if done := s.done.all()[j.Name]; done.failures["test.down"] != 1 || len(done.failures) != 1 || time.Since(done.last) != 0 {
				t.Errorf("after %d: %+v", n, done)
			}
			if n != want {
				t.Errorf("done %d times, not %d", n, want)
			}
			<-time.After(time.Minute)
		}
		synctest.Wait()
		if n != 4 {
			t.Errorf("done %d times, not 4", n)
		}
		stop()
		<-ended
		line := logs.String()
		if strings.Count(line, "\n") != 1 || !strings.Contains(line, `"job":"counting"`) || !strings.Contains(line, `"code":"test.down"`) || !strings.Contains(line, `"because":"the first time"`) {
			t.Error(line)
		}
	})
}

// TestN05ErasuresGoTogether: an erasure has a leaf in the public log. It comes with
// those of the whole hour, counted from the start, whenever they were asked for.
func TestN05ErasuresGoTogether(t *testing.T) {
	at := slices.IndexFunc(Jobs, func(j Job) bool { return j.Name == "erasures" })
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var leaves []time.Duration
		j := Jobs[at]
		j.Do = func(*Service, context.Context) error {
			leaves = append(leaves, time.Since(begun))
			return nil
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { (&Service{}).repeat(ctx, j); close(ended) }()
		<-time.After(3*time.Hour + time.Minute)
		stop()
		<-ended
		if want := []time.Duration{0, time.Hour, 2 * time.Hour, 3 * time.Hour}; !slices.Equal(leaves, want) {
			t.Errorf("leaves after %v", leaves)
		}
	})
}

// TestFoundK1UnrecordedFilingsAreCounted: one line a minute, by code, and none if
// there is nothing to say.
func TestFoundK1UnrecordedFilingsAreCounted(t *testing.T) {
	var logs bytes.Buffer
	s := &Service{Parts: Parts{Log: slog.New(slog.NewJSONHandler(&logs, nil))}}
	for _, code := range []string{"warrant.unsigned", "warrant.bad_signature", "warrant.unsigned"} {
		s.unrecorded.add(code)
	}
	for range 2 {
		if err := s.LogUnrecorded(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	line := logs.String()
	if strings.Count(line, "\n") != 1 || !strings.Contains(line, `"warrant.unsigned":2`) || !strings.Contains(line, `"warrant.bad_signature":1`) {
		t.Error(line)
	}
}
