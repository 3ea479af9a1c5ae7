package pixels

// The inverse DCT of Loeffler, Ligtenberg and Moschytz in fixed point, with the constants and the roundings of libjpeg's
// accurate integer method, so that samples are equal to the last bit. The constants have 13 bits of fraction; the
// columns are done first and keep 2 more bits.
const (
	dctBits  = 13
	passBits = 2

	dct0298 = 2446  // 0.298631336
	dct0390 = 3196  // 0.390180644
	dct0541 = 4433  // 0.541196100
	dct0765 = 6270  // 0.765366865
	dct0899 = 7373  // 0.899976223
	dct1175 = 9633  // 1.175875602
	dct1501 = 12299 // 1.501321110
	dct1847 = 15137 // 1.847759065
	dct1961 = 16069 // 1.961570560
	dct2053 = 16819 // 2.053119869
	dct2562 = 20995 // 2.562915447
	dct3072 = 25172 // 3.072711026
)

// dctEven and dctOdd are the halves of the butterflies over eight numbers: output i is even i plus odd i, and output 7-i
// is even i minus odd i, still scaled up by dctBits.
func dctEven(i0, i2, i4, i6 int32) (e0, e1, e2, e3 int32) {
	z := (i2 + i6) * dct0541
	t2, t3 := z-i6*dct1847, z+i2*dct0765
	t0, t1 := (i0+i4)<<dctBits, (i0-i4)<<dctBits
	return t0 + t3, t1 + t2, t1 - t2, t0 - t3
}

func dctOdd(i1, i3, i5, i7 int32) (o0, o1, o2, o3 int32) {
	z1, z2, z3, z4 := i7+i1, i5+i3, i7+i3, i5+i1
	z5 := (z3 + z4) * dct1175
	z1, z2 = -z1*dct0899, -z2*dct2562
	z3, z4 = z5-z3*dct1961, z5-z4*dct0390
	return i1*dct1501 + z1 + z4, i3*dct3072 + z2 + z3, i5*dct2053 + z2 + z4, i7*dct0298 + z1 + z3
}

// sampleLevel is what a sample of the value 0 is stored as.
const sampleLevel = 128

// inverseDCT transforms the dequantised coefficients of a block, in rows, and writes 8 rows of 8 samples to dst, which
// are stride apart.
func inverseDCT(b *[64]int32, dst []byte, stride int) {
	const (
		colShift = dctBits - passBits
		colRound = 1 << (colShift - 1)
		rowShift = dctBits + passBits + 3
		rowRound = 1<<(rowShift-1) + sampleLevel<<rowShift
	)
	for x := range 8 {
		c := (*[57]int32)(b[x:])
		if c[8]|c[16]|c[24]|c[32]|c[40]|c[48]|c[56] == 0 {
			v := c[0] << passBits
			c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56] = v, v, v, v, v, v, v, v
			continue
		}
		e0, e1, e2, e3 := dctEven(c[0], c[16], c[32], c[48])
		o0, o1, o2, o3 := dctOdd(c[8], c[24], c[40], c[56])
		c[0], c[56] = (e0+o0+colRound)>>colShift, (e0-o0+colRound)>>colShift
		c[8], c[48] = (e1+o1+colRound)>>colShift, (e1-o1+colRound)>>colShift
		c[16], c[40] = (e2+o2+colRound)>>colShift, (e2-o2+colRound)>>colShift
		c[24], c[32] = (e3+o3+colRound)>>colShift, (e3-o3+colRound)>>colShift
	}
	for y := range 8 {
		r := (*[8]int32)(b[8*y:])
		d := (*[8]byte)(dst[y*stride:])
		if r[1]|r[2]|r[3]|r[4]|r[5]|r[6]|r[7] == 0 {
			v := clamp8((r[0]+1<<(passBits+2))>>(passBits+3) + sampleLevel)
			d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7] = v, v, v, v, v, v, v, v
			continue
		}
		e0, e1, e2, e3 := dctEven(r[0], r[2], r[4], r[6])
		o0, o1, o2, o3 := dctOdd(r[1], r[3], r[5], r[7])
		d[0], d[7] = clamp8((e0+o0+rowRound)>>rowShift), clamp8((e0-o0+rowRound)>>rowShift)
		d[1], d[6] = clamp8((e1+o1+rowRound)>>rowShift), clamp8((e1-o1+rowRound)>>rowShift)
		d[2], d[5] = clamp8((e2+o2+rowRound)>>rowShift), clamp8((e2-o2+rowRound)>>rowShift)
		d[3], d[4] = clamp8((e3+o3+rowRound)>>rowShift), clamp8((e3-o3+rowRound)>>rowShift)
	}
}

// flatBlock writes what inverseDCT makes of a block whose first coefficient alone isn't 0.
func flatBlock(dc int32, dst []byte, stride int) {
	v := clamp8((dc<<passBits+1<<(passBits+2))>>(passBits+3) + sampleLevel)
	row := [8]byte{v, v, v, v, v, v, v, v}
	for y := range 8 {
		*(*[8]byte)(dst[y*stride:]) = row
	}
}
