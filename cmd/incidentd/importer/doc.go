// Package importer submits the incidents of a file, JSON lines or CSV, over HTTP to a running API.
//
// The file is read as a stream and cut into batches of consecutive rows, which only depend on the file. Each batch goes
// out under an Idempotency-Key made of the file's hash, its lines and its content. The same file imported again within
// the 24 hours that the server keeps the keys therefore adds only what is not there yet, so an import that was
// interrupted is taken up by running it again.
//
// A row that cannot be read, or that the server refuses, does not stop the others: it is written to a file of rejected
// rows, which can be mended and imported in its turn.
//
// The package knows the wire format of the API and none of its insides: the server may be another version, far away.
package importer
