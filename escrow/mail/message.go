package mail

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// text is what a kind of mail says: the same to everybody. %[1]s is the origin, %[2]s the code.
type text struct{ subject, body string }

var waits = text{"Something waits for you at Penname", `Something waits for you on your own page at Penname.

To read it, open %[1]s/me in your browser and sign in.
It may concern a time limit, so do not leave it long.

This mail says no more on purpose: others may read it. It has no link that signs
you in, and nobody from Penname asks for a password by mail. Nobody reads answers to
it. You get it because this address was confirmed on that page, where you can
change or remove it.
`}

var texts = map[Kind]text{
	Notice:      waits,
	NoticeFirst: waits,
	Confirm: {"Your code for Penname", `Somebody who is signed in at %[1]s entered this address, to be told
there when something waits. If it was you, type this code on the page where you
entered it:

    %[2]s

It is good for an hour. If it was not you, do nothing: without the code nothing
more is sent here.
`},
	Changed: {"Penname does not write here any more", `This address was removed from a page at %[1]s, or another one was put in
its place. Nothing more is sent here. If it was not you, open %[1]s/me
in your browser, sign in, and look at your devices and your address.
`},
	Reminder: {"Something waits for you at Penname", `Something waits for you in a case at %[1]s, and it has a time limit.

Look at your cases as you always do, on your own machine. This mail says no more on
purpose: others may read it. Nobody reads answers to it, and whoever operates
%[1]s can stop it or send it elsewhere.
`},
}

// CodeDigits is how long the code of a [Confirm] is.
const CodeDigits = 8

// Message is a mail as it is sent. It is ASCII, and nothing in it is anybody's free text: an
// address is what [ParseAddress] lets be one, and a code is digits.
func Message(l Letter, from Address, origin string, now time.Time) []byte {
	of := texts[l.Kind]
	_, domain, _ := strings.Cut(from.Reveal(), "@")
	var b strings.Builder
	for _, header := range [][2]string{
		{"From", "Penname <" + from.Reveal() + ">"},
		{"To", "<" + l.To.Reveal() + ">"},
		{"Subject", of.subject},
		{"Date", now.UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + hex.EncodeToString(l.ID[:]) + "@" + domain + ">"}, // of every try
		{"Auto-Submitted", "auto-generated"},                                   // RFC 3834, 5: no answer by a machine
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=us-ascii"},
	} {
		b.WriteString(header[0] + ": " + header[1] + "\r\n")
	}
	b.WriteString("\r\n")
	body := fmt.Sprintf(of.body+"%[3]s", origin, l.Code, "") // the last verb: a text need not use them all
	b.WriteString(strings.ReplaceAll(body, "\n", "\r\n"))
	return []byte(b.String())
}
