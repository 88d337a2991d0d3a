// Package document reads and writes what people and programs sign: strict JSON
// in a compact JWS, and text that shows what it is.
package document
