// Package service is the composition of Penname: from one configuration file, or
// from parts that somebody else made, it puts together the issuing, the
// disclosing and the keeping side, checks that none of them stands on an older
// state than what was published, and runs them.
//
//	config.go      the configuration file
//	settings.go    in which line a setting stands, and what it should hold
//	open.go        from the file to the parts: secrets, Vault, PostgreSQL
//	service.go     from the parts to the service
//	checks.go      what refuses a start
//	check.go       what --check tries and says
//	status.go      the same of a service that runs
//	jobs.go        what the service does by itself: one table
//	reload.go      what is read again while it runs: one table
//	lifetimes.go   what ends, and what renews it or says so
//	memory.go      how little is left in memory of who enrolled
//	vaultaudit.go  Vault's own record against the public log, and against renewals
package service
