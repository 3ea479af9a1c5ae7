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

// dct8 transforms eight numbers: the even part of the butterflies in e, the odd part in o. Output i is e[i]+o[i] and
// output 7-i is e[i]-o[i], still scaled up by dctBits.
func dct8(i0, i1, i2, i3, i4, i5, i6, i7 int32) (e, o [4]int32) {
	z := (i2 + i6) * dct0541
	t2, t3 := z-i6*dct1847, z+i2*dct0765
	t0, t1 := (i0+i4)<<dctBits, (i0-i4)<<dctBits
	e[0], e[1], e[2], e[3] = t0+t3, t1+t2, t1-t2, t0-t3

	z1, z2, z3, z4 := i7+i1, i5+i3, i7+i3, i5+i1
	z5 := (z3 + z4) * dct1175
	z1, z2 = -z1*dct0899, -z2*dct2562
	z3, z4 = z5-z3*dct1961, z5-z4*dct0390
	o[0] = i1*dct1501 + z1 + z4
	o[1] = i3*dct3072 + z2 + z3
	o[2] = i5*dct2053 + z2 + z4
	o[3] = i7*dct0298 + z1 + z3
	return e, o
}

// inverseDCT transforms the dequantised coefficients of a block, in rows, and writes 8 rows of 8 samples to dst, which
// are stride apart.
func inverseDCT(b *[64]int32, dst []byte, stride int) {
	const (
		colShift = dctBits - passBits
		colRound = 1 << (colShift - 1)
		rowShift = dctBits + passBits + 3
		rowRound = 1 << (rowShift - 1)
	)
	for x := range 8 {
		c := b[x : x+57 : x+57]
		if c[8]|c[16]|c[24]|c[32]|c[40]|c[48]|c[56] == 0 {
			v := c[0] << passBits
			c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56] = v, v, v, v, v, v, v, v
			continue
		}
		e, o := dct8(c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56])
		c[0], c[56] = (e[0]+o[0]+colRound)>>colShift, (e[0]-o[0]+colRound)>>colShift
		c[8], c[48] = (e[1]+o[1]+colRound)>>colShift, (e[1]-o[1]+colRound)>>colShift
		c[16], c[40] = (e[2]+o[2]+colRound)>>colShift, (e[2]-o[2]+colRound)>>colShift
		c[24], c[32] = (e[3]+o[3]+colRound)>>colShift, (e[3]-o[3]+colRound)>>colShift
	}
	const level = 128
	for y := range 8 {
		r := b[8*y : 8*y+8 : 8*y+8]
		d := dst[y*stride:][:8:8]
		if r[1]|r[2]|r[3]|r[4]|r[5]|r[6]|r[7] == 0 {
			v := clamp8((r[0]+1<<(passBits+2))>>(passBits+3) + level)
			d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7] = v, v, v, v, v, v, v, v
			continue
		}
		e, o := dct8(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
		d[0], d[7] = clamp8((e[0]+o[0]+rowRound)>>rowShift+level), clamp8((e[0]-o[0]+rowRound)>>rowShift+level)
		d[1], d[6] = clamp8((e[1]+o[1]+rowRound)>>rowShift+level), clamp8((e[1]-o[1]+rowRound)>>rowShift+level)
		d[2], d[5] = clamp8((e[2]+o[2]+rowRound)>>rowShift+level), clamp8((e[2]-o[2]+rowRound)>>rowShift+level)
		d[3], d[4] = clamp8((e[3]+o[3]+rowRound)>>rowShift+level), clamp8((e[3]-o[3]+rowRound)>>rowShift+level)
	}
}
