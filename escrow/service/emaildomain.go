package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/penname/penname/verifier/refusal"
)

var (
	errEmailDomain = refusal.New(refusal.Invalid, "config.bad_email_domain",
		"issue.email_domain must be a domain name in small letters, of two parts or more, such as users.penname.example")
	errTakesMail = refusal.New(refusal.Invalid, "config.email_domain_takes_mail",
		"whoever got mail at issue.email_domain could take over accounts at platforms: publish for it one MX record and no other, with preference 0 and a dot for a host (RFC 7505), or leave the setting out")
	errMailUnknown = refusal.New(refusal.Unavailable, "config.email_domain_unknown",
		"the name service does not say whether issue.email_domain takes mail: try again, on a machine that it answers")
)

// tryEmailDomain tests that a domain takes no mail. RFC 7505, 3: "To indicate that a
// domain does not accept email, it advertises a single MX RR … with an RDATA section
// consisting of preference number 0 and a zero-length label, written in master files as
// ".", as the exchange domain". Without any MX, mail goes to the domain's own address.
func (o *opening) tryEmailDomain(ctx context.Context) error {
	domain := o.config.Issue.EmailDomain
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	records, err := o.lookUpMX(ctx, domain+".")
	mend := fmt.Sprintf("it should be: %s. IN MX 0 .", domain)
	var unanswered *net.DNSError
	switch {
	case errors.As(err, &unanswered) && unanswered.IsNotFound:
		err = errTakesMail.Because(errors.New("it has no MX record, so mail goes to its own address; " + mend))
	case err != nil:
		err = errMailUnknown.Because(err)
	case len(records) != 1 || records[0].Host != "." || records[0].Pref != 0:
		var hosts []string
		for _, mx := range records {
			hosts = append(hosts, fmt.Sprintf("MX %d %s", mx.Pref, mx.Host))
		}
		err = errTakesMail.Because(errors.New("it has " + strings.Join(hosts, " and ") + "; " + mend))
	}
	return of("issue.email_domain", err)
}

// nobodys reports whether nobody can have a domain (RFC 6761, 6.4).
func nobodys(domain string) bool { return strings.HasSuffix(domain, ".invalid") }
