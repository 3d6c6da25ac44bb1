package ort

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// ErrModel marks a model file that is damaged, unsafe or not a sequence classifier.
var ErrModel = errors.New("the model file cannot be used")

// Element types of ONNX tensors that matter here.
const (
	elemFloat    = 1
	elemInt32    = 6
	elemInt64    = 7
	elemFloat16  = 10
	elemBFloat16 = 16
)

// Port is a graph input or output.
type Port struct {
	Name string
	Elem int     // ONNX element type
	Dims []int64 // -1 = any
}

// Model is what a model file says about itself.
type Model struct {
	Inputs  []Port
	Outputs []Port
	// External names the files beside the model that hold its weights, sorted.
	External []string
	// Dynamic says that activations are quantised by what is in the batch, so that scores depend on it.
	Dynamic bool
	// Static says that activations are quantised with fixed scales.
	Static bool
	// Half says that weights are 16-bit floats.
	Half bool
}

// Precision names the number format.
func (m *Model) Precision() string {
	switch {
	case m.Dynamic:
		return "int8-dynamic"
	case m.Static:
		return "int8-static"
	case m.Half:
		return "fp16"
	}
	return "fp32"
}

// InspectModel reads a model file's structure. It visits every initializer and attribute, because external data may hang
// on any of them, and refuses locations outside the model's folder before ONNX Runtime sees them.
func InspectModel(src io.ReaderAt, size int64) (*Model, error) {
	s := &scanner{r: &protoReader{src: src, size: size}, external: map[string]bool{}}
	initialized := map[string]bool{}
	s.initialized = initialized
	found := false
	err := s.r.fields(0, size, func(f protoField) error {
		switch {
		case f.number == 7 && f.wire == wireBytes:
			found = true
			return s.graph(f, 0)
		case f.number == 25 && f.wire == wireBytes:
			return s.function(f)
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: it has no graph", errProto)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModel, err)
	}
	for name := range s.external {
		s.model.External = append(s.model.External, name)
	}
	slices.Sort(s.model.External)
	// Old exporters list the weights among the inputs as well.
	s.model.Inputs = slices.DeleteFunc(s.model.Inputs, func(p Port) bool { return initialized[p.Name] })
	// A pointer into the scanner would keep the file's content, which may be in
	// memory, for as long as the model.
	model := s.model
	return &model, nil
}

type scanner struct {
	r           *protoReader
	model       Model
	external    map[string]bool
	initialized map[string]bool
}

// maxGraphDepth bounds graphs inside attributes of graphs.
const maxGraphDepth = 16

func (s *scanner) graph(g protoField, depth int) error {
	if depth > maxGraphDepth {
		return fmt.Errorf("%w: graphs are nested too deep", errProto)
	}
	return s.r.fields(g.start, g.end, func(f protoField) error {
		if f.wire != wireBytes {
			return nil
		}
		switch f.number {
		case 1:
			return s.node(f, depth)
		case 5:
			return s.tensor(f, depth == 0)
		case 11, 12:
			if depth > 0 {
				return nil
			}
			port, err := s.port(f)
			if f.number == 11 {
				s.model.Inputs = append(s.model.Inputs, port)
			} else {
				s.model.Outputs = append(s.model.Outputs, port)
			}
			return err
		case 15:
			return fmt.Errorf("%w: sparse weights are not supported", errProto)
		}
		return nil
	})
}

func (s *scanner) function(fn protoField) error {
	return s.r.fields(fn.start, fn.end, func(f protoField) error {
		if f.number == 7 && f.wire == wireBytes {
			return s.node(f, 1)
		}
		return nil
	})
}

func (s *scanner) node(n protoField, depth int) error {
	return s.r.fields(n.start, n.end, func(f protoField) error {
		if f.wire != wireBytes {
			return nil
		}
		switch f.number {
		case 4:
			op, err := s.r.text(f)
			s.operator(op)
			return err
		case 5:
			return s.attribute(f, depth)
		}
		return nil
	})
}

// operator notes the operators that tell the quantisation.
func (s *scanner) operator(op string) {
	switch op {
	case "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat":
		s.model.Dynamic = true
	case "QuantizeLinear", "QAttention", "QEmbedLayerNormalization":
		s.model.Static = true
	default:
		s.model.Static = s.model.Static || strings.HasPrefix(op, "QLinear")
	}
}

func (s *scanner) attribute(a protoField, depth int) error {
	return s.r.fields(a.start, a.end, func(f protoField) error {
		if f.wire != wireBytes {
			return nil
		}
		switch f.number {
		case 5, 10:
			return s.tensor(f, false)
		case 6, 11:
			return s.graph(f, depth+1)
		case 22, 23:
			return fmt.Errorf("%w: sparse weights are not supported", errProto)
		}
		return nil
	})
}

func (s *scanner) tensor(t protoField, initializer bool) error {
	return s.r.fields(t.start, t.end, func(f protoField) error {
		switch {
		case f.number == 2 && f.wire == 0:
			s.model.Half = s.model.Half || f.value == elemFloat16 || f.value == elemBFloat16
		case f.number == 8 && f.wire == wireBytes && initializer:
			name, err := s.r.text(f)
			s.initialized[name] = true
			return err
		case f.number == 13 && f.wire == wireBytes:
			return s.externalEntry(f)
		}
		return nil
	})
}

// externalEntry reads one key and value of a tensor's external data.
func (s *scanner) externalEntry(e protoField) error {
	var key, value string
	err := s.r.fields(e.start, e.end, func(f protoField) error {
		var err error
		switch f.number {
		case 1:
			key, err = s.r.text(f)
		case 2:
			value, err = s.r.text(f)
		}
		return err
	})
	if err != nil || key != "location" {
		return err
	}
	if !filepath.IsLocal(value) || strings.ContainsAny(value, `\:`) || value == "." {
		return fmt.Errorf("%w: its weights point outside the model folder (%q)", errProto, value)
	}
	s.external[value] = true
	return nil
}

func (s *scanner) port(v protoField) (Port, error) {
	var p Port
	err := s.r.fields(v.start, v.end, func(f protoField) error {
		var err error
		switch {
		case f.number == 1 && f.wire == wireBytes:
			p.Name, err = s.r.text(f)
		case f.number == 2 && f.wire == wireBytes:
			err = s.tensorType(f, &p)
		}
		return err
	})
	return p, err
}

// tensorType reads TypeProto.tensor_type: the element type and the dimensions.
func (s *scanner) tensorType(t protoField, p *Port) error {
	const maxDims = 8
	return s.r.fields(t.start, t.end, func(f protoField) error {
		if f.number != 1 || f.wire != wireBytes {
			return nil
		}
		return s.r.fields(f.start, f.end, func(f protoField) error {
			switch {
			case f.number == 1 && f.wire == 0:
				p.Elem = int(f.value)
			case f.number == 2 && f.wire == wireBytes:
				return s.r.fields(f.start, f.end, func(f protoField) error {
					if f.number != 1 || f.wire != wireBytes || len(p.Dims) == maxDims {
						return nil
					}
					dim := int64(-1)
					err := s.r.fields(f.start, f.end, func(f protoField) error {
						if f.number == 1 && f.wire == 0 {
							dim = int64(f.value)
						}
						return nil
					})
					p.Dims = append(p.Dims, dim)
					return err
				})
			}
			return nil
		})
	})
}
