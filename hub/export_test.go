package hub

import "os"

// What tests replace of a client before its first use.

func (c *Client) SetFree(f func(string) (int64, bool)) { c.free = f }

func (c *Client) SetSymlink(f func(*os.Root, string, string) error) { c.symlink = f }

func (c *Client) SetHardlink(f func(*os.Root, string, string) error) { c.hardlink = f }

func (c *Client) SetWrite(f func(*os.File, []byte) (int, error)) { c.write = f }

// MinPiece is the smallest piece that a file is cut into.
const MinPiece = minPiece
