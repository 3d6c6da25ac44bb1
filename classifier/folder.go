package classifier

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"github.com/incidentd/incidentd/classifier/ort"
	"github.com/incidentd/incidentd/classifier/tokenizer"
)

// Limits on the small files of a folder; the model file has none.
const (
	maxTokenizerBytes = 256 << 20
	maxConfigBytes    = 1 << 20
)

// folder is a model folder that has been read and checked.
type folder struct {
	source    ModelSource
	settings  modelSettings
	tokenizer *tokenizer.Tokenizer
	model     *ort.Model
	path      string // of the model file on disk
	data      []byte // the model itself when it is not on disk; not to be written to
	sums      map[string]string
}

// readFolder reads and checks everything but the session itself. Files are hashed before they are interpreted.
func readFolder(source ModelSource) (*folder, error) {
	f := &folder{source: source, sums: map[string]string{}}
	if source.Dir != "" {
		root, err := os.OpenRoot(source.Dir)
		if err != nil {
			return nil, fmt.Errorf("%w: %w; \"incidentd model list\" shows the models that are here, \"incidentd model pull NAME\" fetches one", ErrModelMissing, err)
		}
		defer root.Close()
		f.source.FS = root.FS()
	}
	modelFile, err := f.findModel()
	if err != nil {
		return nil, err
	}
	if err := f.readSettings(path.Dir(modelFile)); err != nil {
		return nil, err
	}
	if err := f.readTokenizer(path.Dir(modelFile)); err != nil {
		return nil, err
	}
	if err := f.readModel(modelFile); err != nil {
		return nil, err
	}
	f.source.FS = source.FS
	return f, nil
}

// modelFiles is the order in which a folder is searched.
var modelFiles = []string{"model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx"}

func (f *folder) findModel() (string, error) {
	candidates := modelFiles
	if f.source.File != "" {
		candidates = []string{f.source.File}
	}
	for _, name := range candidates {
		if _, err := fs.Stat(f.source.FS, name); err == nil {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: %s has none of %s", ErrModelMissing, f.where(), strings.Join(candidates, ", "))
}

func (f *folder) where() string {
	if f.source.Dir != "" {
		return f.source.Dir
	}
	return "the embedded model"
}

// read returns a small file that lies beside the model file or at the root.
func (f *folder) read(dir, name string, limit int64) ([]byte, error) {
	for _, p := range slices.Compact([]string{path.Join(dir, name), name}) {
		file, err := f.source.FS.Open(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrModelMissing, err)
		}
		data, err := io.ReadAll(io.LimitReader(file, limit+1))
		_ = file.Close()
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrModelMissing, p, err)
		}
		if int64(len(data)) > limit {
			return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrModelCorrupt, p, limit)
		}
		sum := sha256.Sum256(data)
		return data, f.check(p, hex.EncodeToString(sum[:]))
	}
	return nil, fmt.Errorf("%w: %s has no %s", ErrModelMissing, f.where(), name)
}

// check compares a file's sum with the recorded one and notes it for the model's digest.
func (f *folder) check(name, sum string) error {
	f.sums[name] = sum
	if f.source.Digests == nil {
		return nil
	}
	want, ok := f.source.Digests[name]
	if !ok {
		return fmt.Errorf("%w: no SHA-256 is recorded for %s in %s; pull the model again", ErrModelCorrupt, name, f.where())
	}
	if !strings.EqualFold(want, sum) {
		return fmt.Errorf("%w: %s in %s has SHA-256 %s instead of %s; pull the model again", ErrModelCorrupt, name, f.where(), sum, want)
	}
	return nil
}

func (f *folder) readSettings(dir string) error {
	config, err := f.read(dir, "config.json", maxConfigBytes)
	if err != nil {
		return err
	}
	zeroshot, err := f.read(dir, "zeroshot.json", maxConfigBytes)
	if errors.Is(err, ErrModelMissing) {
		zeroshot, err = nil, nil
	}
	if err != nil {
		return err
	}
	limits, err := f.read(dir, "tokenizer_config.json", maxConfigBytes)
	if errors.Is(err, ErrModelMissing) {
		limits, err = nil, nil
	}
	if err != nil {
		return err
	}
	f.settings, err = parseSettings(config, zeroshot, limits)
	return err
}

func (f *folder) readTokenizer(dir string) error {
	data, err := f.read(dir, "tokenizer.json", maxTokenizerBytes)
	if err != nil {
		return err
	}
	f.tokenizer, err = tokenizer.Load(data)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrModelUnsupported, f.where(), err)
	}
	if size := f.tokenizer.Size(); f.settings.vocabulary > 0 && size > f.settings.vocabulary {
		return fmt.Errorf("%w: %s: tokenizer.json has %d pieces, config.json only vocab_size %d; they belong to different models", ErrModelUnsupported, f.where(), size, f.settings.vocabulary)
	}
	return nil
}

// readModel hashes the model file and what its weights lie in.
func (f *folder) readModel(name string) error {
	if f.source.Dir == "" {
		f.data = unsafe.Slice(unsafe.StringData(f.source.Embedded), len(f.source.Embedded))
		if f.source.Embedded == "" {
			data, err := fs.ReadFile(f.source.FS, name)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrModelMissing, err)
			}
			f.data = data
		}
		return f.inspect(name, bytes.NewReader(f.data), int64(len(f.data)))
	}
	f.path = filepath.Join(f.source.Dir, filepath.FromSlash(name))
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrModelMissing, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrModelMissing, err)
	}
	if err := f.inspect(name, file, info.Size()); err != nil {
		return err
	}
	for _, external := range f.model.External {
		if err := f.hashExternal(path.Join(path.Dir(name), external)); err != nil {
			return err
		}
	}
	return nil
}

// inspect hashes the model file, then reads its structure.
func (f *folder) inspect(name string, src io.ReaderAt, size int64) error {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(src, 0, size)); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrModelMissing, name, err)
	}
	if err := f.check(name, hex.EncodeToString(h.Sum(nil))); err != nil {
		return err
	}
	var err error
	if f.model, err = ort.InspectModel(src, size); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrModelUnsupported, name, err)
	}
	if f.source.Dir == "" && len(f.model.External) > 0 {
		return fmt.Errorf("%w: %s keeps its weights in %s, which only a model on disk can", ErrModelUnsupported, name, strings.Join(f.model.External, ", "))
	}
	return nil
}

func (f *folder) hashExternal(name string) error {
	file, err := f.source.FS.Open(name)
	if err != nil {
		return fmt.Errorf("%w: the weights %s: %w", ErrModelMissing, name, err)
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrModelMissing, name, err)
	}
	return f.check(name, hex.EncodeToString(h.Sum(nil)))
}

// digest identifies the whole model: the sum over the sums of its files.
func (f *folder) digest() string {
	names := make([]string, 0, len(f.sums))
	for name := range f.sums {
		names = append(names, name)
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		fmt.Fprintf(h, "%s  %s\n", f.sums[name], name)
	}
	return hex.EncodeToString(h.Sum(nil))
}
