//go:build tools

package interop

// The compiler of messages, in the version of the library.
import _ "google.golang.org/protobuf/cmd/protoc-gen-go"
