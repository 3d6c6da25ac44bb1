package ort

import (
	"runtime"
	"strconv"
	"testing"
)

// A goroutine that owns its thread computes without denormals; the others are as they were.
func TestOwnThreadFlushesDenormals(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Logf("nothing is written down for %s", runtime.GOARCH)
		return
	}
	// Parsed at run time, or the compiler would multiply.
	parsed, err := strconv.ParseFloat("1e-42", 32)
	if err != nil {
		t.Fatal(err)
	}
	tiny := float32(parsed)
	product := make(chan float32)
	go func() {
		OwnThread(0)
		product <- grow(tiny)
	}()
	if p := <-product; p != 0 {
		t.Errorf("a denormal product is %v", p)
	}
	if p := grow(tiny); p == 0 {
		t.Error("other goroutines lost their denormals")
	}
}

// grow is a call of its own, so that the product is not computed before the thread is set up.
//
//go:noinline
func grow(x float32) float32 { return x * 1.5 }
