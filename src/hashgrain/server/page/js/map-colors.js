// The colors of kinds on the map: far enough from the ground and from one another, light and dark.

const LIGHT = '8a867d 1f6b5c b4552d 4b5fb8 8f6a00 9a3d7d 2277a8 5f7d1e b03a48 6b4fa0 007f79 8a5a3c 50606f'.split(' ');
const DARK = '7d7a72 6cc7b2 f0a27c 9db0ff d9b964 e39ac9 86c5ee b3cf73 f2959f bda5ec 5fd0c8 d0a585 a9b8c6'.split(' ');

/** Red, green, blue of each, from 0 to 1, for the ground that an element stands on. */
export function colorsOf(element) {
  const [red, green, blue] = getComputedStyle(element.ownerDocument.body).backgroundColor.match(/[\d.]+/g).map(Number);
  const named = red + green + blue < 384 ? DARK : LIGHT;
  return Float32Array.from(named.flatMap((each) => [0, 2, 4].map((i) => parseInt(each.slice(i, i + 2), 16) / 255)));
}
