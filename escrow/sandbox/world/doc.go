// Package world is a whole Penname on this machine, on loopback only: the
// service with a PostgreSQL, a key service and an identity provider of its own
// (package sandbox), two platforms, three custodians with their witnesses, a
// court and the police. Its story plays them against each other over HTTP.
//
// The parties use the programs that real ones use, which [Programs] brings: no
// line of the command line is here, and none of this is in the service.
//
//	world.go       the world, as it stands
//	founding.go    how it is made
//	kept.go        how it goes on after a restart, in a folder that stays
//	custodians.go  the custodians' folders, their witnesses and their key
//	platform.go    a platform: a forum where people sign in with Penname
//	browser.go     a person's browser
//	case.go        a warrant, from the court clerk's draft to the opened name
//	story.go       the story, step by step
package world
