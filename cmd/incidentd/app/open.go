package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/models"
	"github.com/incidentd/incidentd/classifier/models/defaultmodel"
	"github.com/incidentd/incidentd/configs"
	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
)

// ErrNoBroker means that nothing says where the broker is.
var ErrNoBroker = errors.New("no broker is known")

// makeDataDir makes the data folder for its owner alone.
func makeDataDir(config configs.Config) error {
	if err := os.MkdirAll(config.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data folder (choose another one with --data-dir or INCIDENTD_DATA_DIR): %w", err)
	}
	return nil
}

// OpenStore opens the database without the lock of serve, beside which it may
// be used. The caller closes it.
func OpenStore(ctx context.Context, config configs.Config, logger *slog.Logger) (*bunstore.Store, error) {
	if err := makeDataDir(config); err != nil {
		return nil, err
	}
	return bunstore.Open(ctx, storeConfig(config, logger))
}

func storeConfig(config configs.Config, logger *slog.Logger) bunstore.Config {
	labels := make([]store.Category, len(config.Labels))
	for i, name := range config.Labels {
		labels[i] = store.Category{Name: name}
	}
	return bunstore.Config{
		Path: config.DatabasePath(), Labels: labels,
		Retention: config.Database.Retention, Logger: logger,
	}
}

// ModelSource finds the configured model: the embedded one, a pulled one by
// name, or a folder.
func ModelSource(config configs.Config) (classifier.ModelSource, error) {
	if config.Classifier.Model == defaultmodel.Name {
		return defaultmodel.Source(), nil
	}
	store, err := models.NewStore(config.Classifier.ModelsDir)
	if err != nil {
		return classifier.ModelSource{}, err
	}
	return store.Source(config.Classifier.Model)
}

// OpenClassifier loads the configured model; ctx bounds the fetch of the ONNX
// Runtime library. The caller closes it.
func OpenClassifier(ctx context.Context, config configs.Config, logger *slog.Logger, registerer prometheus.Registerer) (*classifier.Classifier, error) {
	source, err := ModelSource(config)
	if err != nil {
		return nil, err
	}
	return classifier.OpenContext(ctx, engineConfig(config, source, logger, registerer))
}

// engineConfig translates the settings into the classifier's own.
func engineConfig(config configs.Config, source classifier.ModelSource, logger *slog.Logger, registerer prometheus.Registerer) classifier.Config {
	c := config.Classifier
	cache := int64(c.Cache)
	if cache == 0 {
		cache = -1 // for the classifier 0 is the default, for the operator it is none
	}
	return classifier.Config{
		Runtime:     RuntimeConfig(config, logger),
		Model:       source,
		Threads:     c.Threads,
		Nice:        c.Nice,
		TokenBudget: c.TokenBudget, CacheBytes: cache,
		ExecutionProvider: c.Provider,
		Logger:            logger, Registerer: registerer,
	}
}

// RuntimeConfig says where the ONNX Runtime library comes from.
func RuntimeConfig(config configs.Config, logger *slog.Logger) classifier.RuntimeConfig {
	return classifier.RuntimeConfig{
		LibraryPath: config.Classifier.Library,
		Offline:     config.Offline,
		Notify:      func(message string) { logger.Info("the ONNX Runtime library is fetched", "detail", message) },
	}
}

// ConnectBroker connects to NATS_URL with NATS_CREDS, or else to the embedded
// broker of the serve that uses the same data folder, with the credentials of
// the role. ErrNoBroker, events.ErrBrokerUnavailable.
func ConnectBroker(ctx context.Context, config configs.Config, role events.Role, logger *slog.Logger) (*events.Client, error) {
	client, err := brokerClient(config, role, logger)
	if err != nil {
		return nil, err
	}
	return events.Connect(ctx, client)
}

// brokerClient finds the broker's address and the credentials for it.
func brokerClient(config configs.Config, role events.Role, logger *slog.Logger) (events.ClientConfig, error) {
	client := events.ClientConfig{
		URL: config.NATS.URL.Reveal(), CredsFile: config.NATS.Creds,
		Name: "incidentd " + string(role), Logger: logger,
	}
	if client.URL != "" {
		return client, nil
	}
	client.Lookup = func() (string, error) {
		content, err := os.ReadFile(config.BrokerURLFile())
		return strings.TrimSpace(string(content)), err
	}
	found, err := client.Lookup()
	if errors.Is(err, fs.ErrNotExist) {
		return client, fmt.Errorf("%w: set NATS_URL (and NATS_CREDS), or name the data folder of a running `incidentd serve` with --data-dir; %s has none", ErrNoBroker, config.DataDir)
	}
	if err != nil {
		return client, fmt.Errorf("find the broker's address: %w", err)
	}
	client.URL = found
	if client.CredsFile == "" {
		client.CredsFile = events.CredsFile(config.CredsDir(), role)
	}
	return client, nil
}
