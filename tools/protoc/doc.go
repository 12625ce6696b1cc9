// Command protoc compiles .proto files and hands them to protoc-gen-* plugins,
// as the program of that name does, but at the version that go.mod pins. It
// never looks for files outside the import root and its built-in well-known types.
package main
