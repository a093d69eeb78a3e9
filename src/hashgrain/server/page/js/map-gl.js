// Draws the points of the map with WebGL2. Where there are many, a share of each row of tiles stands for all: a call takes
// as long as about a hundred points, so there is one a row and not one a tile.

const MANY = 100_000; // points drawn at once, until the frames show what this machine can do
const FEWEST = 10_000;
const SLOW = 32; // milliseconds a frame
const QUICK = 20;
const OUTSIDE = 128; // the bit of a point that is out of the area

const VERTEX = `#version 300 es
layout(location = 0) in vec2 place;
layout(location = 1) in uint look;
uniform vec2 middle;
uniform vec2 scale;
uniform float size;
uniform vec3 colors[13];
uniform float faint;
out vec4 tint;
void main() {
  gl_Position = vec4((place - middle) * scale, 0.0, 1.0);
  bool outside = (look & 128u) != 0u;
  gl_PointSize = outside ? size * 0.8 : size;
  tint = vec4(colors[look & 15u], outside ? faint : 0.9);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec4 tint;
uniform float size;
out vec4 color;
void main() {
  float edge = size * (0.5 - length(gl_PointCoord - 0.5));
  float alpha = tint.a * clamp(edge + 0.5, 0.0, 1.0);
  color = vec4(tint.rgb * alpha, alpha);
}`;

const UNIFORMS = ['middle', 'scale', 'size', 'colors', 'faint'];

export class Points {
  /** Throws where there is no WebGL2. */
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext('webgl2', { alpha: true, antialias: false, depth: false });
    if (!this.gl) throw new Error('no WebGL2');
    this.budget = MANY;
    this.#prepare();
    canvas.addEventListener('webglcontextlost', (event) => event.preventDefault());
    canvas.addEventListener('webglcontextrestored', () => {
      this.#prepare();
      if (this.data) this.load(this.data, this.outside);
      this.restored?.();
    });
  }

  #prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    this.at = Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]));
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.placeBuffer = gl.createBuffer();
    this.lookBuffer = gl.createBuffer();
    this.rowBuffer = gl.createBuffer();
  }

  /** Take the points, and which of them are out of the area that was taken: 1 for each that is, or null. */
  load(data, outside) {
    const { gl } = this;
    this.data = data;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.placeBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, data.places, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.rowBuffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, data.byRow, gl.STATIC_DRAW);
    this.mark(outside);
  }

  mark(outside) {
    const { gl, data } = this;
    this.outside = outside;
    const looks = new Uint8Array(data.count);
    for (let i = 0; i < data.count; i += 1) looks[i] = (data.colors.get(data.kindOf[i]) ?? 0) | (outside?.[i] ? OUTSIDE : 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lookBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, looks, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribIPointer(1, 1, gl.UNSIGNED_BYTE, 0, 0);
  }

  /** Draw a view {x, y, scale, width, height, box}, in `colors` of three numbers each; fewer points while it moves. About how many are seen. */
  draw({ x, y, scale, width, height, box }, colors, ratio, moving) {
    const { gl, data, canvas } = this;
    const [wide, tall] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
    if (canvas.width !== wide) canvas.width = wide;
    if (canvas.height !== tall) canvas.height = tall;
    gl.viewport(0, 0, wide, tall);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const shown = Math.max(1, data.countIn(box));
    const share = Math.min(1, (moving ? this.budget : Math.max(MANY, this.budget)) / shown);
    const size = Math.min(11, Math.max(2.2, 0.3 * Math.sqrt((width * height) / (shown * share))));
    gl.uniform2f(this.at.middle, x, y);
    gl.uniform2f(this.at.scale, (2 * scale) / width, (2 * scale) / height);
    gl.uniform1f(this.at.size, size * ratio);
    gl.uniform3fv(this.at.colors, colors);
    gl.uniform1f(this.at.faint, 0.2);
    if (share === 1) for (const [first, last] of data.rows(box)) this.#every(data.starts[first], data.starts[last]);
    else for (const [from, to] of data.someRows(box, share)) gl.drawElements(gl.POINTS, to - from, gl.UNSIGNED_INT, 4 * from);
    return Math.ceil(share * shown);
  }

  #every(from, to) {
    if (to > from) this.gl.drawArrays(this.gl.POINTS, from, to - from);
  }

  /** Learn from how long a frame took while the view moves. */
  learn(milliseconds) {
    if (milliseconds > SLOW) this.budget = Math.max(FEWEST, 0.85 * this.budget);
    else if (milliseconds < QUICK) this.budget = Math.min(Math.max(MANY, this.data.count), 1.1 * this.budget);
  }
}
