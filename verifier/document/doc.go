// Package document reads and writes what people and programs sign: strict JSON
// in a compact JWS, and text that shows what it is.
//
// A [Format] is one kind of document: a token, a proof, a warrant. [Format.Open]
// checks size, form and header, [KeySet.Find] chooses the key that the header
// names, [Signed.Verify] checks the signature over the bytes that were received,
// and [Format.Read] decodes the payload. [Format.Sign] is the way back.
//
//	signed, err := format.Open(raw)      // nothing in it is believed yet
//	key, err := keys.Find(signed)        // by kid only
//	err = signed.Verify(key.Public)      // now the payload is the signer's word
//	err = format.Read(signed.Payload, &claims, nil)
//
// Formats differ in their limits, algorithms and refusals, and in whether a
// document may be written in one way only. Nothing else is decided per kind: what
// one of them must refuse, all do.
//
// The package has no opinion on who may sign, and knows no clock.
package document
