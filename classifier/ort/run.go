package ort

import (
	"errors"
	"fmt"
	"math"

	onnx "github.com/yalue/onnxruntime_go"
)

// buffers are the inputs and outputs of a runner. Tensors of all shapes lie over the same memory, and the tensor
// objects of the shapes seen are kept, so a steady load makes no garbage.
type buffers struct {
	ids, mask, types []int64
	narrow           [3][]int32 // for models with 32-bit inputs
	logits           []float32
	half             []byte
	tensors          map[shape]*tensorSet
}

type shape struct{ rows, width int }

type tensorSet struct {
	inputs  []onnx.Value
	outputs []onnx.Value
}

// maxShapes bounds the kept tensor objects; each is some hundred bytes.
const maxShapes = 512

// Batch is the input of one run: rows of token ids, each padded to the same width.
type Batch struct {
	Rows  int
	Width int
	// IDs, Mask have Rows*Width elements, to be filled by the caller. Token types are zero for this family.
	IDs, Mask []int64
}

// Batch returns the runner's buffers for a shape; they are valid until the next call.
func (r *Runner) Batch(rows, width int) Batch {
	r.reserve(rows, width)
	n := rows * width
	return Batch{rows, width, r.ids[:n], r.mask[:n]}
}

// reserve grows the memory; old tensors point into the old memory and go.
func (r *Runner) reserve(rows, width int) {
	n, out := rows*width, rows*r.classes
	if n <= len(r.ids) && out <= len(r.logits) {
		return
	}
	_ = r.free()
	n, out = max(n, len(r.ids)), max(out, len(r.logits))
	r.ids, r.mask, r.types = make([]int64, n), make([]int64, n), make([]int64, n)
	r.logits = make([]float32, out)
	if r.session.elem == elemInt32 {
		for i := range r.narrow {
			r.narrow[i] = make([]int32, n)
		}
	}
	if r.session.output.Elem == elemFloat16 {
		r.half = make([]byte, 2*out)
	}
}

// Run runs the batch that was filled last and returns the logits, Rows*classes of them, valid until the next call.
func (r *Runner) Run(b Batch) ([]float32, error) {
	set, err := r.tensorsFor(shape{b.Rows, b.Width})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRun, err)
	}
	if r.session.elem == elemInt32 {
		for i, wide := range [][]int64{b.IDs, b.Mask} {
			for j, v := range wide {
				r.narrow[i][j] = int32(v)
			}
		}
	}
	if err := r.begin(); err != nil {
		return nil, err
	}
	err = r.session.session.RunWithOptions(set.inputs, set.outputs, r.options)
	r.end()
	if err != nil {
		return nil, r.runError(err)
	}
	out := r.logits[:b.Rows*r.classes]
	if r.half != nil {
		for i := range out {
			out[i] = halfToFloat(uint16(r.half[2*i]) | uint16(r.half[2*i+1])<<8)
		}
	}
	return out, nil
}

// runError tells a termination from a failure: ONNX Runtime reports both as a failed status, but only a run whose
// options were terminated fails for that reason.
func (r *Runner) runError(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.terminated {
		return ErrTerminated
	}
	return fmt.Errorf("%w: %w", ErrRun, err)
}

func (r *Runner) tensorsFor(s shape) (*tensorSet, error) {
	if set, ok := r.tensors[s]; ok {
		return set, nil
	}
	if len(r.tensors) >= maxShapes {
		if err := r.free(); err != nil {
			return nil, err
		}
	}
	set := &tensorSet{}
	for _, kind := range r.session.inputs {
		value, err := r.input(kind, s)
		if err != nil {
			return nil, errors.Join(err, set.free())
		}
		set.inputs = append(set.inputs, value)
	}
	value, err := r.outputTensor(s)
	if err != nil {
		return nil, errors.Join(err, set.free())
	}
	set.outputs = []onnx.Value{value}
	if r.tensors == nil {
		r.tensors = map[shape]*tensorSet{}
	}
	r.tensors[s] = set
	return set, nil
}

func (r *Runner) input(kind inputKind, s shape) (onnx.Value, error) {
	dims := onnx.NewShape(int64(s.rows), int64(s.width))
	if r.session.elem == elemInt32 {
		return onnx.NewTensor(dims, r.narrow[kind])
	}
	return onnx.NewTensor(dims, [...][]int64{r.ids, r.mask, r.types}[kind])
}

func (r *Runner) outputTensor(s shape) (onnx.Value, error) {
	dims := onnx.NewShape(int64(s.rows), int64(r.classes))
	if r.half != nil {
		return onnx.NewCustomDataTensor(dims, r.half[:2*s.rows*r.classes], onnx.TensorElementDataTypeFloat16)
	}
	return onnx.NewTensor(dims, r.logits)
}

// free destroys the tensor objects; the memory stays.
func (b *buffers) free() error {
	var errs []error
	for _, set := range b.tensors {
		errs = append(errs, set.free())
	}
	clear(b.tensors)
	return errors.Join(errs...)
}

func (t *tensorSet) free() error {
	var errs []error
	for _, v := range t.inputs {
		errs = append(errs, v.Destroy())
	}
	for _, v := range t.outputs {
		errs = append(errs, v.Destroy())
	}
	return errors.Join(errs...)
}

// halfToFloat widens an IEEE 754 half.
func halfToFloat(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0:
		value := float32(fraction) / (1 << 24)
		if sign != 0 {
			return -value
		}
		return value
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}
