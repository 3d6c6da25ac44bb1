package ort

import (
	"errors"
	"fmt"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"
)

// ErrEnvironment says that the library was found but the process cannot use it.
var ErrEnvironment = errors.New("the ONNX Runtime library cannot be loaded")

// environment is the process's one copy of ONNX Runtime. The binding keeps its state in package variables, so a
// lock beside them is the honest form. It is never unloaded: threads of a library may outlive its sessions, and
// unloading code under them ends the process.
var environment struct {
	sync.Mutex
	path string
}

// Load loads the library into the process; loading the same one again does nothing.
func Load(path string) error {
	environment.Lock()
	defer environment.Unlock()
	if environment.path == path {
		return nil
	}
	if environment.path != "" {
		return fmt.Errorf("%w: %s is in use already, %s cannot be loaded beside it", ErrEnvironment, environment.path, path)
	}
	onnx.SetSharedLibraryPath(path)
	// Every failure comes back as an error; what the library would print beside it is for its own developers.
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("%w: %s: %w; the program needs ONNX Runtime %s", ErrEnvironment, path, err, Version)
	}
	if err := onnx.DisableTelemetry(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrEnvironment, path, err)
	}
	environment.path = path
	return nil
}

// LoadedVersion returns the version that the loaded library reports, empty when none is loaded.
func LoadedVersion() string {
	environment.Lock()
	defer environment.Unlock()
	if environment.path == "" {
		return ""
	}
	return onnx.GetVersion()
}
