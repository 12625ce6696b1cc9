package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	root := flag.String("root", ".", "folder that imports and output are relative to")
	plugins := flag.String("plugins", "", "comma-separated plugin programs")
	param := flag.String("param", "paths=source_relative", "parameter handed to every plugin")
	flag.Parse()
	ctx := context.Background()
	req, err := compile(ctx, *root, flag.Args())
	if err == nil {
		req.Parameter = param
		err = generate(ctx, *root, strings.Split(*plugins, ","), req)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "protoc:", err)
		os.Exit(1)
	}
}

func generate(ctx context.Context, root string, plugins []string, req *pluginpb.CodeGeneratorRequest) error {
	for _, plugin := range plugins {
		resp, err := call(ctx, plugin, req)
		if err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
		if err := write(root, resp); err != nil {
			return err
		}
	}
	return nil
}

func compile(ctx context.Context, root string, files []string) (*pluginpb.CodeGeneratorRequest, error) {
	c := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		// Comments of the .proto file become comments of the Go code.
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	linked, err := c.Compile(ctx, files...)
	if err != nil {
		return nil, err
	}
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: files}
	seen := map[string]bool{}
	for _, f := range linked {
		req.ProtoFile = appendFile(req.ProtoFile, f, seen)
	}
	return req, nil
}

// appendFile adds f behind everything that it imports, as plugins expect.
func appendFile(list []*descriptorpb.FileDescriptorProto, f protoreflect.FileDescriptor, seen map[string]bool) []*descriptorpb.FileDescriptorProto {
	if seen[f.Path()] {
		return list
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		list = appendFile(list, f.Imports().Get(i).FileDescriptor, seen)
	}
	return append(list, protoutil.ProtoFromFileDescriptor(f))
}

func call(ctx context.Context, plugin string, req *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	resp := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(out, resp); err != nil {
		return nil, err
	}
	if resp.Error != nil {
		return nil, errors.New(resp.GetError())
	}
	return resp, nil
}

func write(root string, resp *pluginpb.CodeGeneratorResponse) error {
	for _, f := range resp.GetFile() {
		name := filepath.Join(root, f.GetName())
		if err := os.WriteFile(name, []byte(f.GetContent()), 0o644); err != nil { //nolint:gosec // source code, for all to read
			return err
		}
	}
	return nil
}
