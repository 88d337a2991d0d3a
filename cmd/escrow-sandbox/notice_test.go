package main

import (
	"context"
	"strings"
	"testing"
	"time"

	escrow "github.com/penname/penname/cmd/escrow/command"
)

// What a custodian does once `escrow custodian list` named a case, which no mail does, to their decision: the commands that
// they type, the answers that they give, and how long the programs take of it.
func TestCustodianFromNotice(t *testing.T) {
	tb := startForTest(t)
	x := filedCase(t, tb)
	commands, answers := 0, 0
	began := time.Now()
	types := func(args ...string) string {
		t.Helper()
		commands++
		var out strings.Builder
		env := escrow.System()
		env.Stdout, env.Stderr, env.Now = &out, &out, tb.Clock.Now
		env.Ask = func(context.Context, string) (string, error) {
			answers++
			return "yes", nil
		}
		if code := escrow.Run(t.Context(), tb.AsCustodian("alba", args...), env); code != 0 {
			t.Fatal(out.String())
		}
		return out.String()
	}
	said := types("review", x.ID)
	at := -1
	for _, heading := range []string{"WHO ASKS", "WHAT WAS SAID", "WHY IT MAY BE PERMITTED", "WHAT THIS FOLDER CHECKED", "WHAT IT DID NOT CHECK, AND CANNOT"} {
		next := strings.Index(said, heading)
		if next <= at {
			t.Errorf("%s is not in its place:\n%s", heading, said)
		}
		at = next
	}
	if !strings.Contains(types("approve", x.ID), "1 decided, 2 must approve") {
		t.Error("it is not decided")
	}
	took := time.Since(began)
	if listed := types("list"); !strings.Contains(listed, "nothing waits for you") || strings.Contains(listed, x.ID) {
		t.Errorf("it waits still: %s", listed)
	}
	if !strings.Contains(types("list", "--all"), x.ID) {
		t.Error("--all does not show it")
	}
	if commands != 4 || answers > 3 {
		t.Errorf("%d commands, %d answers", commands, answers)
	}
	t.Logf("from the case id to the decision: 2 commands, %d answers, %.1f seconds of the programs", answers, took.Seconds())
}
