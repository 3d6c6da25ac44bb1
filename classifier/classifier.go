package classifier

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/incidentd/incidentd/classifier/ort"
)

// Priority orders the work that waits for a core.
type Priority int

const (
	// Backlog is work that nobody looks at: it waits for everything else.
	Backlog Priority = iota
	// Interactive is work that somebody waits for.
	Interactive
)

// Text is one text to classify.
type Text struct {
	Content  string
	Priority Priority
}

// Result is the outcome for one text.
type Result struct {
	// Scores has one entry per label, highest first; equal scores keep the order of the labels.
	Scores []Score
	// Err says why there are no scores; it concerns this text alone.
	Err error
	// Cached says that the scores come from an equal text, earlier or in the same moment.
	Cached bool
}

// ModelInfo describes the model that is loaded.
type ModelInfo struct {
	Name string
	// Digest identifies the model with all its files: a SHA-256 over their names and sums.
	Digest string
	// MinConfidence is the score below which a result should be looked at by a person; 0 = not stated.
	MinConfidence float64
	// MaxTokens is the longest pair of text and hypothesis; longer texts are cut at their end.
	MaxTokens int
	// DefaultTemplate is used when Labels has none.
	DefaultTemplate string
	// Hypotheses are the model folder's own sentences for some labels; do not change them.
	Hypotheses map[string]string
	// Precision is fp32, fp16, int8-static or int8-dynamic.
	Precision string
	// BatchInvariant says that scores do not depend on what shares a run, so that runs may mix texts.
	BatchInvariant bool
	// Threads is the number of concurrent runs.
	Threads int
	// Provider is the execution provider.
	Provider string
}

// Classifier scores texts against labels with one model. It is safe for concurrent use.
type Classifier struct {
	cfg     Config
	folder  *folder
	info    ModelInfo
	limits  planLimits
	session *ort.Session
	engine  engine
	sets    *lru[*labelSet]
	cache   *lru[[]float64]
	metrics *metrics
	scratch sync.Pool
	closing sync.Once
}

// Open checks the configuration, finds (or fetches) the ONNX Runtime library, checks and loads the model, and starts
// the goroutines that run it. Close ends them.
func Open(cfg Config) (*Classifier, error) {
	return OpenContext(context.Background(), cfg)
}

// OpenContext is Open with a context for the fetch of the library.
func OpenContext(ctx context.Context, cfg Config) (*Classifier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	f, err := readFolder(cfg.Model)
	if err != nil {
		return nil, err
	}
	library, err := ort.Find(ctx, cfg.Runtime)
	if err != nil {
		return nil, err
	}
	if err := ort.Load(library); err != nil {
		return nil, err
	}
	c := &Classifier{cfg: cfg, folder: f}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// load makes the session and starts the engine.
func (c *Classifier) load() error {
	f := c.folder
	session, err := ort.NewSession(ort.SessionConfig{Path: f.path, Data: f.data, Model: f.model, Provider: c.cfg.ExecutionProvider})
	if err != nil {
		return err
	}
	c.session = session
	if f.source.Embedded != "" {
		ort.Evict(f.data)
	}
	f.data = nil // the session has its own copy of the weights
	if n := session.Classes(); n != 0 && n != f.settings.classes {
		return errors.Join(session.Close(), fmt.Errorf("%w: the model gives %d logits, config.json names %d classes", ErrModelUnsupported, n, f.settings.classes))
	}
	c.info = c.describe()
	c.limits = planLimits{
		maxTokens: f.settings.maxTokens,
		overhead:  f.tokenizer.PairOverhead(),
		budget:    c.cfg.TokenBudget,
		mixed:     c.info.BatchInvariant,
	}
	c.sets = newLRU(64, func(*labelSet) int64 { return 1 })
	c.cache = newLRU(c.cfg.CacheBytes, cacheCost)
	if c.metrics, err = newMetrics(c.cfg.Registerer, c); err != nil {
		return errors.Join(session.Close(), err)
	}
	c.engine = engine{
		session: session,
		pad:     int64(f.tokenizer.Pad()),
		classes: f.settings.classes,
		entail:  f.settings.entailment,
		contra:  f.settings.contradiction,
		nice:    c.cfg.Nice,
		pack:    c.pack,
		finish:  c.finish,
		cached:  c.cache.get,
		observe: c.metrics.observeRun,
	}
	if err := c.engine.start(c.cfg.Threads); err != nil {
		return errors.Join(session.Close(), c.metrics.close(), err)
	}
	return nil
}

func (c *Classifier) describe() ModelInfo {
	s := c.folder.settings
	provider := c.cfg.ExecutionProvider
	if provider == "" {
		provider = ort.ProviderCPU
	}
	return ModelInfo{
		Name:            c.cfg.Model.Name,
		Digest:          c.folder.digest(),
		MinConfidence:   s.minConfidence,
		MaxTokens:       s.maxTokens,
		DefaultTemplate: s.template,
		Hypotheses:      s.hypotheses,
		Precision:       c.folder.model.Precision(),
		BatchInvariant:  invariant(c.folder.model, provider),
		Threads:         c.cfg.Threads,
		Provider:        provider,
	}
}

// invariant says whether runs may mix texts. Dynamic quantisation takes its scales from the whole run. Fixed scales and
// 16-bit floats do not, but they round, and the last bit of a sum that another padded width changes can flip a
// rounding: the tests saw scores move by up to 0.008 (static) and 0.001 (fp16) with random weights. So on a CPU, where
// mixing gains a few percent, only fp32 is mixed; a GPU has to be filled.
func invariant(m *ort.Model, provider string) bool {
	if m.Dynamic {
		return false
	}
	return provider == ort.ProviderCUDA || !m.Static && !m.Half
}

// Model describes the model that is loaded.
func (c *Classifier) Model() ModelInfo { return c.info }

// Close stops the engine, waits for the runs in hand (which are told to end early) and frees the model. Calls that
// still wait get ErrClosed. It may be called more than once.
func (c *Classifier) Close() error {
	var err error
	c.closing.Do(func() {
		c.engine.close()
		err = errors.Join(c.session.Close(), c.metrics.close())
	})
	return err
}

// pack lays one pair out, the premise cut to what the model takes.
func (c *Classifier) pack(dst, premise, hypothesis []int32) []int32 {
	room := c.limits.maxTokens - c.limits.overhead - len(hypothesis)
	return c.folder.tokenizer.AppendPair(dst, premise[:min(len(premise), room)], hypothesis)
}

// finish computes a call's probabilities and remembers them.
func (c *Classifier) finish(call *call) {
	if call.err == nil {
		call.scores, call.err = probabilities(call.entail, call.contra, call.set.multi)
	}
	if call.err == nil && !call.private {
		c.cache.put(call.key, call.scores)
	}
}

// cacheCost estimates the memory of a cache entry: the scores, the list element, the map slot.
func cacheCost(scores []float64) int64 { return int64(8*len(scores)) + 256 }

// Classify scores every text against the labels. The results are in the order of the texts, each with an error of its
// own if that text cannot be scored. The error concerns the whole request: bad labels (ErrLabels), a cancelled context,
// or a closed Classifier (ErrClosed).
//
// On cancellation it returns at once; runs that nobody waits for any more are stopped in the background.
func (c *Classifier) Classify(ctx context.Context, texts []Text, labels Labels) ([]Result, error) {
	return c.classify(ctx, texts, labels, false)
}

func (c *Classifier) classify(ctx context.Context, texts []Text, labels Labels, private bool) ([]Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	set, err := c.labelSet(labels)
	if err != nil {
		return nil, err
	}
	r := &request{c: c, set: set, private: private, results: make([]Result, len(texts)), waits: make([]wait, 0, len(texts))}
	defer r.leave()
	if err := r.enter(texts); err != nil {
		return nil, err
	}
	if err := r.await(ctx); err != nil {
		return nil, err
	}
	return r.results, nil
}

// selfTestText is ordinary enough for any model of the family.
const selfTestText = "The server does not answer and nobody can log in."

// selfTestLimit is far above what the largest model needs for one text on a slow core.
const selfTestLimit = 2 * time.Minute

// SelfTest runs a known text through the model, past the cache, and checks that its scores are finite and sum to one.
func (c *Classifier) SelfTest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, selfTestLimit)
	defer cancel()
	results, err := c.classify(ctx, []Text{{selfTestText, Interactive}}, Names("Server Issue", "Login Issue"), true)
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	if err := results[0].Err; err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	sum := 0.0
	for _, s := range results[0].Scores {
		sum += s.Score
	}
	if sum < 0.999 || sum > 1.001 {
		return fmt.Errorf("self-test: %w: they sum to %v", ErrScores, sum)
	}
	return nil
}

// key identifies what decides a text's scores: the model, the labels, and the tokens, which are the normalised text
// as far as the model sees it.
func (c *Classifier) key(set *labelSet, ids []int32, scratch []byte) (flightKey, []byte) {
	scratch = append(scratch[:0], c.info.Digest...)
	scratch = append(scratch, set.hash[:]...)
	for _, id := range ids {
		scratch = binary.LittleEndian.AppendUint32(scratch, uint32(id))
	}
	return sha256.Sum256(scratch), scratch
}

// blank says whether a text has nothing in it.
func blank(text string) bool { return strings.TrimSpace(text) == "" }
