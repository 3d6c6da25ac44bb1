package events

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// brokerLog writes the server's log into ours. Its notices are details here.
type brokerLog struct {
	log *slog.Logger

	mu    sync.Mutex // guards cause
	cause string     // the first message the server called fatal
}

// fatal returns why the server cannot go on, "" if it can.
func (l *brokerLog) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

func (l *brokerLog) write(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "broker", "detail", fmt.Sprintf(format, v...))
	}
}

// Fatalf is called where the server's own program would exit.
func (l *brokerLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	if l.cause == "" {
		l.cause = fmt.Sprintf(format, v...)
	}
	l.mu.Unlock()
	l.write(slog.LevelError, format, v)
}

func (l *brokerLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l *brokerLog) Warnf(format string, v ...any)   { l.write(slog.LevelWarn, format, v) }
func (l *brokerLog) Errorf(format string, v ...any)  { l.write(slog.LevelError, format, v) }
func (l *brokerLog) Debugf(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
func (l *brokerLog) Tracef(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
