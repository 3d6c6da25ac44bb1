package classifier

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/classifier/ort"
)

// Defaults of Config.
const (
	// DefaultTokenBudget is the best size of a run measured on CPUs: the pairs of one incident, or ten short ones.
	DefaultTokenBudget = 640
	// MaxTokenBudget bounds the memory of a run on a CPU: 50 labels of 512 tokens in one run took 2.4 GB.
	MaxTokenBudget = 1024
	// DefaultCacheBytes holds some 100,000 results of five labels.
	DefaultCacheBytes = 32 << 20
)

// maxNice is the lowest priority there is.
const maxNice = 19

// RuntimeConfig says where the ONNX Runtime library comes from; see ort.LibraryConfig.
type RuntimeConfig = ort.LibraryConfig

// ModelSource names a model folder: config.json, tokenizer.json, model.onnx (or onnx/model.onnx) and, if there are
// any, zeroshot.json and external data. Exactly one of Dir and FS is set.
type ModelSource struct {
	// Name is shown in results and metrics; empty = the last part of Dir, or "model".
	Name string
	// Dir is a folder on disk.
	Dir string
	// FS holds the files in memory, as the embedded default model does. It cannot have external data.
	FS fs.FS
	// Embedded is the content of FS's model file if that is part of the program's own file; empty = it is read from FS. It is
	// read where it lies, and its pages go back to the system once the model is loaded. A string that was made while
	// the program ran would be lost by that.
	Embedded string
	// File is the model file, with slashes; empty = the one that is found.
	File string
	// Digests are the SHA-256 sums (hexadecimal) of the files by path with slashes. A file that is needed and
	// not listed, or whose sum differs, is refused with ErrModelCorrupt. nil = no sums are known; nothing is checked.
	Digests map[string]string
}

// Config describes a Classifier. The zero value of every field but Model is usable.
type Config struct {
	// Runtime says where the ONNX Runtime library comes from.
	Runtime RuntimeConfig
	// Model is the model folder.
	Model ModelSource
	// Threads is the number of runs at a time, each on one core; 0 = the CPUs that the process may use (the
	// container's limit included).
	Threads int
	// Nice, 0 to 19, lowers the priority of the threads that run the model against everything else on the machine, where
	// threads have one (Linux). 0 leaves it.
	Nice int
	// TokenBudget bounds a run: rows times padded length; 0 = DefaultTokenBudget. A single pair longer than that
	// still runs, alone. Memory in a run grows with it: see the package comment.
	TokenBudget int
	// CacheBytes bounds the cache of results; 0 = DefaultCacheBytes, negative = no cache.
	CacheBytes int64
	// ExecutionProvider is "cpu" (also the empty string) or "cuda", which needs a library with CUDA.
	ExecutionProvider string
	// Logger gets the few lines that the package logs; nil = slog.Default.
	Logger *slog.Logger
	// Registerer gets the metrics (incidentd_classifier_…); nil = none.
	Registerer prometheus.Registerer
}

// Validate reports every mistake of the configuration at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if (c.Model.Dir == "") == (c.Model.FS == nil) {
		bad("model: set exactly one of Dir and FS")
	}
	if c.Model.File != "" && !filepath.IsLocal(filepath.FromSlash(c.Model.File)) {
		bad("model: file %q is not inside the model folder", c.Model.File)
	}
	if c.Threads < 0 {
		bad("threads: %d is negative; 0 means all CPUs that the process may use", c.Threads)
	}
	if c.Nice < 0 || c.Nice > maxNice {
		bad("nice: %d is not between 0 and %d", c.Nice, maxNice)
	}
	if c.TokenBudget < 0 || c.TokenBudget > c.maxBudget() {
		bad("token budget: %d is not between 1 and %d (0 means %d)", c.TokenBudget, c.maxBudget(), DefaultTokenBudget)
	}
	switch c.ExecutionProvider {
	case "", ort.ProviderCPU, ort.ProviderCUDA:
	default:
		bad("execution provider: %q is neither %q nor %q", c.ExecutionProvider, ort.ProviderCPU, ort.ProviderCUDA)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(errs...))
}

// maxBudget is larger on a GPU, which has to be filled.
func (c Config) maxBudget() int {
	if c.ExecutionProvider == ort.ProviderCUDA {
		return 64 * MaxTokenBudget
	}
	return MaxTokenBudget
}

// withDefaults fills what was left open.
func (c Config) withDefaults() Config {
	if c.Threads == 0 {
		c.Threads = runtime.GOMAXPROCS(0)
	}
	if c.TokenBudget == 0 {
		c.TokenBudget = DefaultTokenBudget
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Model.Name == "" {
		c.Model.Name = "model"
		if c.Model.Dir != "" {
			c.Model.Name = filepath.Base(c.Model.Dir)
		}
	}
	if c.Runtime.Notify == nil {
		logger := c.Logger
		c.Runtime.Notify = func(message string) { logger.Info("the ONNX Runtime library is fetched", "detail", message) }
	}
	return c
}
