package bunstore

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/incidentd/incidentd/store"
)

func steps(t *testing.T, scripts map[string]string) []migration {
	t.Helper()
	files := make(fstest.MapFS)
	for name, script := range scripts {
		files["migrations/"+name] = &fstest.MapFile{Data: []byte(script)}
	}
	steps, err := loadMigrations(files)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func connection(t *testing.T, path string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(conn.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestAFailedMigrationLeavesTheOldSchema(t *testing.T) {
	t.Parallel()
	conn := connection(t, filepath.Join(t.TempDir(), "test.db"))
	first := map[string]string{"0001_a.sql": "CREATE TABLE a (x); INSERT INTO a VALUES (1)"}
	if err := migrate(t.Context(), conn, steps(t, first)); err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"0001_a.sql": first["0001_a.sql"],
		"0002_b.sql": "CREATE TABLE b (y); INSERT INTO b SELECT x FROM a; INSERT INTO nowhere VALUES (1)",
	}
	if err := migrate(t.Context(), conn, steps(t, bad)); err == nil {
		t.Fatal("a bad migration passed")
	}
	version, err := schemaVersion(t.Context(), conn)
	var tables int
	err = errors.Join(err, conn.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_master").Scan(&tables))
	if err != nil || version != 1 || tables != 1 {
		t.Fatalf("version %d with %d tables (%v), want 1 and 1", version, tables, err)
	}
	good := map[string]string{
		"0001_a.sql": first["0001_a.sql"],
		"0002_b.sql": "CREATE TABLE b (y); INSERT INTO b SELECT x FROM a",
		"0003_c.sql": "ALTER TABLE b ADD COLUMN z",
	}
	for range 2 {
		if err := migrate(t.Context(), conn, steps(t, good)); err != nil {
			t.Fatal(err)
		}
	}
	var y int
	if err := conn.QueryRowContext(t.Context(), "SELECT y FROM b WHERE z IS NULL").Scan(&y); err != nil || y != 1 {
		t.Errorf("the migrated row holds %d (%v)", y, err)
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	conn := connection(t, filepath.Join(t.TempDir(), "test.db"))
	both := map[string]string{"0001_a.sql": "CREATE TABLE a (x)", "0002_b.sql": "CREATE TABLE b (x)"}
	if err := migrate(t.Context(), conn, steps(t, both)); err != nil {
		t.Fatal(err)
	}
	delete(both, "0002_b.sql")
	if err := migrate(t.Context(), conn, steps(t, both)); store.CodeOf(err) != store.CodeUnavailable {
		t.Errorf("error %v, want %s", err, store.CodeUnavailable)
	}
}

func TestMigrationsAreNumberedWithoutGaps(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"0002_b.sql", "first.sql", "0000_a.sql"} {
		files := fstest.MapFS{"migrations/" + name: &fstest.MapFile{}}
		if _, err := loadMigrations(files); err == nil {
			t.Errorf("%s was accepted as the first", name)
		}
	}
	if _, err := loadMigrations(migrations); err != nil {
		t.Error(err)
	}
}
