package policy

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"strings"
	"time"

	"github.com/penname/penname/verifier/document"
)

// deliveredAgain stands in the grounds of a redelivery between those of the order that it
// repeats and why the key was replaced.
const deliveredAgain = "\n\nTo be delivered again, to another key: "

// Redeliver drafts the order to deliver again what a production, given as its compact JWS,
// ordered: to another delivery key of the same requester, whose name may be another one; empty:
// it is the same. why is why the key is replaced.
func Redeliver(earlier, deliveryKey, name, why string) (*Warrant, error) {
	w, err := ParseUnverified(earlier)
	if err != nil {
		return nil, err
	}
	if w.Kind != Production {
		return nil, ErrEarlierKind
	}
	hash := Hash(earlier)
	again := *w
	again.ID, again.Bundle, again.DatedBack, again.IssuedAt = "", "", "", time.Time{}
	again.Kind, again.Earlier, again.Grounds = Redelivery, hex.EncodeToString(hash[:]), w.Grounds+deliveredAgain+why
	again.Requester.DeliveryKey, again.Requester.Name = deliveryKey, cmp.Or(name, w.Requester.Name)
	return &again, nil
}

// checkRepeats holds a redelivery against the order that it repeats. What is said once more
// would be decided once more, so nothing but the key is new.
func (o *order) checkRepeats() error {
	w, e := *o.Warrant, *o.earlier
	why, repeats := strings.CutPrefix(w.Grounds, e.Grounds+deliveredAgain)
	if !repeats || document.Blank(why) || w.Requester.DeliveryKey == e.Requester.DeliveryKey || w.Expiry.After(e.Expiry) {
		return ErrRedelivery
	}
	w.ID, w.Kind, w.Earlier, w.Grounds, w.Bundle, w.DatedBack = e.ID, e.Kind, e.Earlier, e.Grounds, e.Bundle, e.DatedBack
	w.IssuedAt, w.Expiry, w.Requester.DeliveryKey, w.Requester.Name = e.IssuedAt, e.Expiry, e.Requester.DeliveryKey, e.Requester.Name
	is, errIs := marshal(w)
	was, errWas := marshal(e)
	if errIs != nil || errWas != nil || !bytes.Equal(is, was) {
		return ErrRedelivery
	}
	return nil
}
