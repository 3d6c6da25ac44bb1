package ort

import (
	"math"
	"runtime"
	"testing"
)

// A goroutine that owns its thread computes without denormals; the others are as they were.
func TestOwnThreadFlushesDenormals(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Logf("nothing is written down for %s", runtime.GOARCH)
		return
	}
	tiny := float32(math.SmallestNonzeroFloat32) * 1000
	product := make(chan float32)
	go func() {
		OwnThread()
		product <- tiny * 1.5
	}()
	if p := <-product; p != 0 {
		t.Errorf("a denormal product is %v", p)
	}
	if p := tiny * 1.5; p == 0 {
		t.Error("other goroutines lost their denormals")
	}
}
