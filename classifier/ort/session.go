package ort

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"
)

// Errors of sessions; test with errors.Is.
var (
	// ErrProvider: the execution provider asked for is not in the library.
	ErrProvider = errors.New("the execution provider is not available")
	// ErrTerminated: the run was stopped by Runner.Terminate.
	ErrTerminated = errors.New("the run was terminated")
	// ErrRun: ONNX Runtime failed while running the model.
	ErrRun = errors.New("ONNX Runtime failed")
)

// Providers that can be named in the configuration.
const (
	ProviderCPU  = "cpu"
	ProviderCUDA = "cuda"
)

// SessionConfig describes one session.
type SessionConfig struct {
	// Path is the model file; external data lies beside it. Exclusive with Data.
	Path string
	// Data is the model itself, without external data.
	Data []byte
	// Model is what Inspect said.
	Model *Model
	// Provider is ProviderCPU (also the empty string) or ProviderCUDA.
	Provider string
	// IntraThreads is the number of threads inside one run; 0 = 1.
	IntraThreads int
}

// Session is a loaded model: one copy of the weights for any number of concurrent runs.
type Session struct {
	session *onnx.DynamicAdvancedSession
	inputs  []inputKind
	elem    int // of the inputs
	output  Port
}

type inputKind uint8

const (
	inputIDs inputKind = iota
	inputMask
	inputTypes
)

var inputKinds = map[string]inputKind{
	"input_ids": inputIDs, "attention_mask": inputMask, "token_type_ids": inputTypes,
}

// NewSession loads a model. Load must have succeeded before.
func NewSession(cfg SessionConfig) (*Session, error) {
	s := &Session{}
	inputs, output, err := s.ports(cfg.Model)
	if err != nil {
		return nil, err
	}
	options, err := sessionOptions(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = options.Destroy() }() // it fails only when called twice
	if cfg.Data != nil {
		s.session, err = onnx.NewDynamicAdvancedSessionWithONNXData(cfg.Data, inputs, []string{output}, options)
	} else {
		s.session, err = onnx.NewDynamicAdvancedSession(cfg.Path, inputs, []string{output}, options)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModel, err)
	}
	trim()
	return s, nil
}

// ports picks the inputs that the engine can fill and the output that holds the logits.
func (s *Session) ports(m *Model) (inputs []string, output string, err error) {
	for _, p := range m.Inputs {
		kind, known := inputKinds[p.Name]
		if !known {
			return nil, "", fmt.Errorf("%w: it wants the input %q, which a sequence classifier of this family does not have", ErrModel, p.Name)
		}
		if p.Elem != elemInt64 && p.Elem != elemInt32 || s.elem != 0 && p.Elem != s.elem {
			return nil, "", fmt.Errorf("%w: its input %q has the element type %d", ErrModel, p.Name, p.Elem)
		}
		s.elem = p.Elem
		s.inputs = append(s.inputs, kind)
		inputs = append(inputs, p.Name)
	}
	if !slices.Contains(s.inputs, inputIDs) || !slices.Contains(s.inputs, inputMask) {
		return nil, "", fmt.Errorf("%w: it lacks input_ids or attention_mask", ErrModel)
	}
	for _, p := range m.Outputs {
		if p.Name == "logits" || len(m.Outputs) == 1 {
			s.output = p
			output = p.Name
		}
	}
	if output == "" || s.output.Elem != elemFloat && s.output.Elem != elemFloat16 {
		return nil, "", fmt.Errorf("%w: it has no output of float logits", ErrModel)
	}
	return inputs, output, nil
}

// Classes returns the number of classes if the model file states it, else 0.
func (s *Session) Classes() int {
	if n := len(s.output.Dims); n == 2 && s.output.Dims[1] > 0 {
		return int(s.output.Dims[1])
	}
	return 0
}

// sessionOptions are the measured best for many concurrent runs: no threads of ONNX Runtime's own, so nothing can
// spin between runs; all graph optimisations; the arena on, because its blocks are what a steady load reuses.
func sessionOptions(cfg SessionConfig) (*onnx.SessionOptions, error) {
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	err = errors.Join(
		options.SetIntraOpNumThreads(max(cfg.IntraThreads, 1)),
		options.SetInterOpNumThreads(1),
		options.SetExecutionMode(onnx.ExecutionModeSequential),
		options.SetGraphOptimizationLevel(onnx.GraphOptimizationLevelEnableAll),
		options.SetCpuMemArena(true),
		// Memory patterns are kept per input shape, and shapes are many here.
		options.SetMemPattern(false),
		options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		options.AddSessionConfigEntry("session.inter_op.allow_spinning", "0"),
		// The weights outside the arena: it grows by doubling, and would keep up to their size again in reserve.
		options.AddSessionConfigEntry("session.use_device_allocator_for_initializers", "1"),
	)
	if err == nil {
		err = appendProvider(options, cfg.Provider)
	}
	if err != nil {
		_ = options.Destroy()
		return nil, err
	}
	return options, nil
}

func appendProvider(options *onnx.SessionOptions, provider string) error {
	switch provider {
	case "", ProviderCPU:
		return nil
	case ProviderCUDA:
		cuda, err := onnx.NewCUDAProviderOptions()
		if err == nil {
			err = options.AppendExecutionProviderCUDA(cuda)
			_ = cuda.Destroy()
		}
		if err != nil {
			return fmt.Errorf("%w: this ONNX Runtime library has no CUDA (%s); set ONNXRUNTIME_LIB to a build with CUDA, or use the provider \"cpu\"", ErrProvider, strings.TrimSuffix(err.Error(), "."))
		}
		return nil
	}
	return fmt.Errorf("%w: %q; known are %q and %q", ErrProvider, provider, ProviderCPU, ProviderCUDA)
}

// Close frees the session. All its runners must be closed before.
func (s *Session) Close() error { return s.session.Destroy() }

// Runner runs a session for one goroutine. Its tensors belong to it for as long as it lives: a run that is
// terminated ends before anything is freed.
type Runner struct {
	session *Session
	options *onnx.RunOptions
	classes int
	buffers

	mu         sync.Mutex
	running    bool
	terminated bool
	closed     bool
}

// NewRunner makes a runner; classes is the width of the logits.
func (s *Session) NewRunner(classes int) (*Runner, error) {
	options, err := onnx.NewRunOptions()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	return &Runner{session: s, options: options, classes: classes}, nil
}

// Terminate makes the run in progress, if any, end soon with ErrTerminated. It may be called from any goroutine.
func (r *Runner) Terminate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running && !r.closed {
		r.terminated = true
		_ = r.options.Terminate()
	}
}

// Close frees the tensors.
func (r *Runner) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	return errors.Join(r.free(), r.options.Destroy())
}

// begin marks a run as in progress and clears an earlier termination.
func (r *Runner) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrTerminated
	}
	r.running, r.terminated = true, false
	return r.options.UnsetTerminate()
}

func (r *Runner) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = false
}
