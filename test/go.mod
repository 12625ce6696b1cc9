module github.com/strongroom/strongroom/test

go 1.26.0
