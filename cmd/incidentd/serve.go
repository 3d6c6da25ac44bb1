package main

// serveFlags are the settings that serve takes as flags.
func serveFlags() []string {
	return append(append(apiFlags(), workerFlags()...), "nats-listen", "nats-dir", "sweep-interval", "retention", "labels")
}

func apiFlags() []string {
	return []string{"listen", "insecure-http", "tls-cert", "tls-key", "metrics-listen", "trusted-proxies", "cors-origins"}
}

func workerFlags() []string {
	return []string{
		"nats-creds", "ack-wait", "model", "models-dir", "onnxruntime-lib", "threads", "provider",
		"worker-name", "worker-batch", "memory-limit",
	}
}
