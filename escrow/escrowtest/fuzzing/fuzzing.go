// Package fuzzing holds fuzz targets to a speed: a target that runs eight inputs a
// minute tests nothing.
package fuzzing

import (
	"flag"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"
)

// rate is how many inputs a target runs in a second of one processor's time, at
// least; the race detector makes it a tenth.
const rate = 1000

// Run is f.Fuzz. In a plain test run it runs target on changed seeds as well, and
// fails if that takes more than a millisecond of processor time each: what other
// processes do meanwhile does not count. Set-up belongs before it.
func Run(f *testing.F, target any) {
	f.Helper()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		f.Fuzz(target)
		return
	}
	const perSeed = 250
	runs, took := 0, time.Duration(0)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same inputs each time
	call := reflect.ValueOf(target)
	f.Fuzz(reflect.MakeFunc(call.Type(), func(args []reflect.Value) []reflect.Value {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		began := threadTime()
		call.Call(args)
		for range perSeed - 1 {
			changed := slices.Clone(args)
			for i := range changed[1:] {
				changed[1+i] = change(random, changed[1+i])
			}
			call.Call(changed)
		}
		took += threadTime() - began
		runs += perSeed
		return nil
	}).Interface())
	f.Logf("%d inputs in %v of processor time", runs, took)
	if limit := time.Duration(runs) * slowed * time.Second / rate; runs == 0 || took > limit {
		f.Errorf("%d inputs took %v of processor time, at most %v", runs, took, limit)
	}
}

// change returns an argument with one byte changed, left out or put in.
func change(random *rand.Rand, v reflect.Value) reflect.Value {
	var b []byte
	switch v.Kind() {
	case reflect.String:
		b = []byte(v.String())
	case reflect.Slice:
		b = slices.Clone(v.Bytes())
	default:
		return v
	}
	if at := random.IntN(len(b) + 1); at == len(b) {
		b = append(b, byte(random.Uint32()))
	} else {
		switch random.IntN(3) {
		case 0:
			b[at] = byte(random.Uint32())
		case 1:
			b = slices.Delete(b, at, at+1)
		case 2:
			b = slices.Insert(b, at, byte(random.Uint32()))
		}
	}
	return reflect.ValueOf(b).Convert(v.Type())
}
