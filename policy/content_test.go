package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// Version 4: each custodian has a recipient of their own, and the limits are set.
func TestContentOfABundle(t *testing.T) {
	first := newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	if b := first.bundle; b.Version != 4 || b.PostSpanHours != DefaultPostSpanHours || b.AppealDays != DefaultAppealDays {
		t.Fatal(b.Version, b.PostSpanHours, b.AppealDays)
	}
	for name, c := range map[string]struct {
		change func(*Bundle)
		want   error
	}{
		"as it is":                  {func(*Bundle) {}, nil},
		"no recipient":              {func(b *Bundle) { b.Custodians[1].Recipient = "" }, ErrBundleRecipient},
		"one recipient, two bodies": {func(b *Bundle) { b.Custodians[1].Recipient = b.Custodians[0].Recipient }, ErrBundleRecipient},
		"a recipient without ML-KEM": {func(b *Bundle) {
			b.Custodians[1].Recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
		}, ErrBundleRecipient},
		"a recipient in capitals":   {func(b *Bundle) { b.Custodians[1].Recipient = strings.ToUpper(b.Custodians[1].Recipient) }, ErrBundleRecipient},
		"a delivery key":            {func(b *Bundle) { b.Custodians[1].Recipient = first.delivery }, ErrBundleRecipient},
		"a cut recipient":           {func(b *Bundle) { b.Custodians[1].Recipient = b.Custodians[1].Recipient[:900] }, ErrBundleRecipient},
		"no span":                   {func(b *Bundle) { b.PostSpanHours = 0 }, ErrBundleLimits},
		"a week":                    {func(b *Bundle) { b.PostSpanHours = 168 }, nil},
		"more than a week":          {func(b *Bundle) { b.PostSpanHours = 169 }, ErrBundleLimits},
		"no time to appeal":         {func(b *Bundle) { b.AppealDays = 0 }, ErrBundleLimits},
		"more than three years":     {func(b *Bundle) { b.AppealDays = 1097 }, ErrBundleLimits},
		"version 3 with recipients": {func(b *Bundle) { b.Version = 3; contentless(b) }, ErrBundleMalformed},
		"version 3 with a span":     {func(b *Bundle) { b.Version = 3; contentless(b); withoutRecipients(b); b.PostSpanHours = 24 }, ErrBundleMalformed},
		"version 3 with an appeal":  {func(b *Bundle) { b.Version = 3; contentless(b); withoutRecipients(b); b.AppealDays = 90 }, ErrBundleMalformed},
		"version 3 with a class": {func(b *Bundle) {
			b.Version = 3
			contentless(b)
			withoutRecipients(b)
			b.OffenceClasses[0].NoCopy = true
		}, ErrBundleMalformed},
		"version 3, which has nothing": {func(b *Bundle) { b.Version = 3; contentless(b); withoutRecipients(b) }, nil},
	} {
		draft := first.draft(t)
		draft.Succeed(nil)
		withRecipients(t, draft)
		c.change(draft)
		if _, err := draft.Marshal(); !errors.Is(err, c.want) {
			t.Error(name, err, errors.Unwrap(err))
		}
	}
	if !slices.ContainsFunc(DefaultOffenceClasses(), func(c OffenceClass) bool { return c.NoCopy && c.ID == "child_sexual_abuse" }) {
		t.Error("what nobody may copy is copied")
	}
	if first.bundle.PostSpan() != 24*time.Hour || newWorld(t).bundle.PostSpan() != 0 {
		t.Error("the span of posts", first.bundle.PostSpan(), newWorld(t).bundle.PostSpan())
	}
}
