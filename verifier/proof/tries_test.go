package proof

import (
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
)

// What cannot be read says why once, however often it was tried, and each reason that there was.
func TestWhyALogCannotBeReadIsSaidOnce(t *testing.T) {
	refused, cert := errors.New("dial tcp 127.0.0.1:1: connect: connection refused"), &tls.CertificateVerificationError{Err: errors.New("expired")}
	var errs error
	for _, err := range []error{refused, errors.New(refused.Error()), refused, errors.New("unexpected status code 503"), cert, refused} {
		errs = errors.Join(errs, err)
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"several": {fmt.Errorf("checkpoint: %w", errs), "checkpoint: " + refused.Error() + "; unexpected status code 503; " + cert.Error()},
		"twice":   {fmt.Errorf("checkpoint: %w", errors.Join(errors.Join(refused), refused)), "checkpoint: " + refused.Error()},
		"one":     {fmt.Errorf("checkpoint: %w", refused), "checkpoint: " + refused.Error()},
		"alone":   {refused, refused.Error()},
	} {
		if got := once("checkpoint", c.err); got.Error() != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if !errors.As(ErrFetch.Because(once("checkpoint", fmt.Errorf("checkpoint: %w", errs))), new(*tls.CertificateVerificationError)) {
		t.Error("the cause is lost")
	}
	if once("checkpoint", nil) != nil {
		t.Error("nothing failed")
	}
}
