package main

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/web/pagetest"
)

// TestPasskeyInTheSandbox: as `make demo` starts it, at localhost, the service gives people
// passkeys: one is added, and signs in at a platform in a browser that was never here.
func TestPasskeyInTheSandbox(t *testing.T) {
	w, err := world.Start(t.Context(), programs, world.Options{Listen: "localhost:0", Log: io.Discard, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	wales, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	b := pagetest.Open(t)
	jo := sandbox.People()[0].Name
	_, err = b.AddAuthenticator()
	at := 0
	for i, step := range []func() error{
		func() error { return b.PressTo(w.Origin, "Prove my identity", jo) },
		func() error { return b.Press(jo, "Check what was sealed") },
		func() error { return b.Press("Add a passkey", "You have none yet") },
		func() error { return b.Press("Add a passkey", "Your passkey is added") },
		b.Forget,
		func() error { return b.PressTo(w.Town.Origin, "Sign in with Penname", "Sign in with a passkey") },
		func() error { return b.Press("Sign in with a passkey", "Sign in to "+w.Town.Name) },
		func() error { return b.Press("Sign in to "+w.Town.Name, "You are signed in as pen1") },
		// Her provider's account alone waits, until a time that a clock in Wales shows.
		b.Forget,
		func() error { return b.PressTo(w.Origin, "Prove my identity", jo) },
		func() error { return b.Press(jo, "You are not signed in yet") },
		func() error { return b.Shows(time.Now().Add(issue.RecoveryWait).In(wales).Format(" MST")) },
	} {
		if err == nil {
			at, err = i, step()
		}
	}
	if err != nil {
		t.Fatalf("step %d: %v", at, err)
	}
}
