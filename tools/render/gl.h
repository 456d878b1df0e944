/* gl.h: OpenGL without a screen, on the CPU where need be: by OSMesa, else by EGL without a surface. Neither is linked:
 * both bring a compiler of their own, which no other command should have to load. */
#ifndef DR_TOOLS_RENDER_GL_H
#define DR_TOOLS_RENDER_GL_H

typedef struct dr_gl dr_gl;

/* Make a context and the calling thread's current one. MUJOCO_GL=osmesa or egl in the environment asks for that one. -1
 * and a sentence in message (DR_PICTURE_MESSAGE bytes) if there is none. */
int dr_gl_open(dr_gl **out, char *message);
/* On the same thread. NULL is accepted. */
void dr_gl_close(dr_gl *gl);

#endif
