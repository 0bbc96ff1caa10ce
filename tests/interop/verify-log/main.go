// Verify-log checks a log directory against the log's public key, without a line of Doorward's own code:
// the checkpoint's signature, every entry against the tree, one inclusion and one consistency proof.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run main.go DIRECTORY VKEY
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tiles reads tiles from a directory.
type tiles struct{ directory string }

func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		// Go's paths name the height of tiles, the paths of c2sp.org/tlog-tiles do not.
		bytes, err := os.ReadFile(filepath.Join(t.directory, strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		found = append(found, bytes)
	}
	return found, nil
}

func verify(directory, vkey string) (int64, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return 0, err
	}
	signed, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return 0, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return 0, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return 0, errors.New("the checkpoint is not one of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return 0, err
	}
	var root tlog.Hash
	if decoded, err := base64.StdEncoding.DecodeString(lines[2]); err != nil || copy(root[:], decoded) != len(root) {
		return 0, errors.New("the checkpoint's root is no hash")
	}
	hashes := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles{directory})
	for first := int64(0); first < size; first += 256 {
		if err := verifyBundle(directory, hashes, first, size); err != nil {
			return 0, err
		}
	}
	return size, verifyProofs(hashes, size, root)
}

func verifyBundle(directory string, hashes tlog.HashReader, first, size int64) error {
	width := size - first
	if width > 256 {
		width = 256
	}
	path := tlog.Tile{H: 8, L: -1, N: first / 256, W: int(width)}.Path()
	bytes, err := os.ReadFile(filepath.Join(directory, strings.Replace(path, "tile/8/data/", "tile/entries/", 1)))
	if err != nil {
		return err
	}
	var indexes []int64
	for n := first; n < first+width; n++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, n))
	}
	wanted, err := hashes.ReadHashes(indexes) // checked against the root
	if err != nil {
		return err
	}
	for n := range wanted {
		if len(bytes) < 2 || len(bytes) < 2+int(binary.BigEndian.Uint16(bytes)) {
			return fmt.Errorf("entry %d is cut off", first+int64(n))
		}
		end := 2 + int(binary.BigEndian.Uint16(bytes))
		if tlog.RecordHash(bytes[2:end]) != wanted[n] {
			return fmt.Errorf("entry %d is not the one in the tree", first+int64(n))
		}
		bytes = bytes[end:]
	}
	if len(bytes) > 0 {
		return fmt.Errorf("%s has more entries than the tree", path)
	}
	return nil
}

func verifyProofs(hashes tlog.HashReader, size int64, root tlog.Hash) error {
	n, old := size/3, size/2+1
	record, err := tlog.ProveRecord(size, n, hashes)
	if err != nil {
		return err
	}
	leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(record, size, root, n, leaf[0]); err != nil {
		return err
	}
	before, err := tlog.TreeHash(old, hashes)
	if err != nil {
		return err
	}
	tree, err := tlog.ProveTree(size, old, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(tree, size, root, old, before)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: verify-log DIRECTORY VKEY")
		os.Exit(2)
	}
	size, err := verify(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Println("not verified:", err)
		os.Exit(1)
	}
	fmt.Println("verified:", size, "entries")
}
