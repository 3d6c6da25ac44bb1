package configs

// Setting describes one setting to whoever renders flags or documents.
type Setting struct {
	// Key is its path in the file.
	Key string
	// Env are the names in the environment; the first one set wins.
	Env []string
	// Flag is the flag's name, empty for none: secrets have none, since other
	// users see a command line.
	Flag  string
	Usage string
	// Default is the value in the notation of the environment.
	Default string
	// Bool says that the flag needs no value.
	Bool bool
}

// setting is a Setting and where its value lives. The type of what field points
// to decides the notation.
type setting struct {
	key   string
	env   []string
	flag  string
	usage string
	field func(*Config) any
}

// Settings lists all settings in the order of the example file.
func Settings() []Setting {
	defaults := Default()
	table := settings()
	list := make([]Setting, len(table))
	for i, s := range table {
		field := s.field(&defaults)
		_, isBool := field.(*bool)
		list[i] = Setting{Key: s.key, Env: s.env, Flag: s.flag, Usage: s.usage, Default: render(field), Bool: isBool}
	}
	return list
}

func env(names ...string) []string { return names }

// settings is the table.
func settings() []setting {
	return append(append(generalSettings(), apiSettings()...), pipelineSettings()...)
}

func generalSettings() []setting {
	return []setting{
		{"data_dir", env("INCIDENTD_DATA_DIR"), "data-dir", "folder for the database, the broker and the keys", func(c *Config) any { return &c.DataDir }},
		{"offline", env("INCIDENTD_OFFLINE"), "offline", "never fetch anything from the network", func(c *Config) any { return &c.Offline }},
		{"memory_limit", env("INCIDENTD_MEMORY_LIMIT"), "memory-limit", "soft limit of the Go heap, 0 for none", func(c *Config) any { return &c.MemoryLimit }},
		{"labels", env("INCIDENTD_LABELS"), "labels", "categories of the first start, comma-separated", func(c *Config) any { return &c.Labels }},
		{"log.level", env("INCIDENTD_LOG_LEVEL"), "log-level", "debug, info, warn or error", func(c *Config) any { return &c.Log.Level }},
		{"log.format", env("INCIDENTD_LOG_FORMAT"), "log-format", "text or json", func(c *Config) any { return &c.Log.Format }},
		{"hub.endpoint", env("HF_ENDPOINT"), "", "address of the model hub", func(c *Config) any { return &c.Hub.Endpoint }},
		{"hub.token", env("HF_TOKEN"), "", "token for the model hub", func(c *Config) any { return &c.Hub.Token }},
	}
}

func apiSettings() []setting {
	return []setting{
		{"http.listen", env("INCIDENTD_LISTEN"), "listen", "host:port of the API; port 0 takes a free one", func(c *Config) any { return &c.HTTP.Listen }},
		{"http.insecure", env("INCIDENTD_INSECURE_HTTP"), "insecure-http", "allow plain HTTP on an address that other machines reach", func(c *Config) any { return &c.HTTP.Insecure }},
		{"http.tls_cert", env("INCIDENTD_TLS_CERT"), "tls-cert", "certificate file (PEM)", func(c *Config) any { return &c.HTTP.TLSCert }},
		{"http.tls_key", env("INCIDENTD_TLS_KEY"), "tls-key", "private key file (PEM)", func(c *Config) any { return &c.HTTP.TLSKey }},
		{"http.metrics_listen", env("INCIDENTD_METRICS_LISTEN"), "metrics-listen", "host:port of a listener for metrics alone", func(c *Config) any { return &c.HTTP.MetricsListen }},
		{"http.trusted_proxies", env("INCIDENTD_TRUSTED_PROXIES"), "trusted-proxies", "addresses or networks whose X-Forwarded-For is believed, comma-separated", func(c *Config) any { return &c.HTTP.TrustedProxies }},
		{"http.cors_origins", env("INCIDENTD_CORS_ORIGINS"), "cors-origins", "origins that browsers may call from, comma-separated", func(c *Config) any { return &c.HTTP.CORSOrigins }},
		{"auth.secret_key", env("SECRET_KEY"), "", "key that signs tokens", func(c *Config) any { return &c.Auth.SecretKey }},
		{"auth.algorithm", env("ALGORITHM"), "", "HS256, HS384 or HS512", func(c *Config) any { return &c.Auth.Algorithm }},
		{"auth.access_token_expire_minutes", env("ACCESS_TOKEN_EXPIRE_MINUTES"), "", "minutes that a token lives", func(c *Config) any { return &c.Auth.TokenMinutes }},
		{"admin.email", env("ADMIN_EMAIL"), "", "e-mail of the first account", func(c *Config) any { return &c.Admin.Email }},
		{"admin.password", env("ADMIN_PASSWORD"), "", "password of the first account", func(c *Config) any { return &c.Admin.Password }},
	}
}

func pipelineSettings() []setting {
	return []setting{
		{"database.url", env("DATABASE_URL", "SQLALCHEMY_DATABASE_URL"), "", "database in SQLAlchemy's notation", func(c *Config) any { return &c.Database.URL }},
		{"database.retention", env("INCIDENTD_RETENTION"), "retention", "how long settled bookkeeping rows are kept", func(c *Config) any { return &c.Database.Retention }},
		{"nats.url", env("NATS_URL"), "", "an external broker instead of the embedded one", func(c *Config) any { return &c.NATS.URL }},
		{"nats.creds", env("NATS_CREDS"), "nats-creds", "credentials file for the broker", func(c *Config) any { return &c.NATS.Creds }},
		{"nats.listen", env("INCIDENTD_NATS_LISTEN"), "nats-listen", "host:port of the embedded broker; port 0 takes a free one", func(c *Config) any { return &c.NATS.Listen }},
		{"nats.dir", env("INCIDENTD_NATS_DIR"), "nats-dir", "folder of the embedded broker's stream", func(c *Config) any { return &c.NATS.Dir }},
		{"nats.ack_wait", env("INCIDENTD_ACK_WAIT"), "ack-wait", "time after which unfinished work is handed out again", func(c *Config) any { return &c.NATS.Topology.AckWait }},
		{"nats.max_age", env("INCIDENTD_NATS_MAX_AGE"), "", "how long events stay in the stream", func(c *Config) any { return &c.NATS.Topology.MaxAge }},
		{"nats.max_bytes", env("INCIDENTD_NATS_MAX_BYTES"), "", "size of the stream", func(c *Config) any { return &c.NATS.MaxBytes }},
		{"nats.replicas", env("INCIDENTD_NATS_REPLICAS"), "", "copies of the stream on a cluster", func(c *Config) any { return &c.NATS.Topology.Replicas }},
		{"classifier.model", env("INCIDENTD_MODEL"), "model", "name or folder of the model", func(c *Config) any { return &c.Classifier.Model }},
		{"classifier.models_dir", env("INCIDENTD_MODELS_DIR"), "models-dir", "folder of pulled models", func(c *Config) any { return &c.Classifier.ModelsDir }},
		{"classifier.library", env("ONNXRUNTIME_LIB"), "onnxruntime-lib", "the ONNX Runtime library file", func(c *Config) any { return &c.Classifier.Library }},
		{"classifier.threads", env("INCIDENTD_THREADS"), "threads", "concurrent runs of the model, 0 for all CPUs", func(c *Config) any { return &c.Classifier.Threads }},
		{"classifier.nice", env("INCIDENTD_NICE"), "", "how far the model stands back behind everything else, 0 to 19", func(c *Config) any { return &c.Classifier.Nice }},
		{"classifier.token_budget", env("INCIDENTD_TOKEN_BUDGET"), "", "padded tokens in one run", func(c *Config) any { return &c.Classifier.TokenBudget }},
		{"classifier.cache", env("INCIDENTD_CACHE"), "", "memory for remembered results, 0 for none", func(c *Config) any { return &c.Classifier.Cache }},
		{"classifier.provider", env("INCIDENTD_PROVIDER"), "provider", "cpu or cuda", func(c *Config) any { return &c.Classifier.Provider }},
		{"worker.name", env("INCIDENTD_WORKER_NAME"), "worker-name", "name of this worker in results", func(c *Config) any { return &c.Worker.Name }},
		{"worker.batch", env("INCIDENTD_WORKER_BATCH"), "worker-batch", "incidents taken at a time, 1 to 64; 0 follows the measured speed", func(c *Config) any { return &c.Worker.Batch }},
		{"worker.sweep_interval", env("INCIDENTD_SWEEP_INTERVAL"), "sweep-interval", "how often lost requests are looked for", func(c *Config) any { return &c.Worker.SweepInterval }},
	}
}
