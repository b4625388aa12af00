/** How a device's driver or libraries are installed. */
import type { Provider } from './provider-sessions.ts';

/** One sentence or two with the command. */
export function installHint(provider: Provider, platform: NodeJS.Platform = process.platform): string {
  switch (provider) {
    case 'webgpu':
      return platform === 'linux'
        ? "It needs a Vulkan driver: 'apt-get install libvulkan1 mesa-vulkan-drivers' on Debian 13 and Ubuntu 25.04; on " +
            "Debian 12 add bookworm-backports and '-t bookworm-backports', because Mesa has to be version 25 or later. " +
            'NVIDIA cards have it in their own driver (libvulkan1 is needed too).'
        : "It needs a current driver of the graphics card, from the system's updates or the card's maker.";
    case 'cuda':
      return (
        'It needs Linux on x64, an NVIDIA driver, CUDA 12 and cuDNN 9, and a part of onnxruntime that npm does not hold: ' +
        "'ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node' fetches it."
      );
    case 'coreml':
      return 'It is part of onnxruntime on macOS only, and untested.';
    case 'dml':
      return 'It is part of onnxruntime on Windows only, and untested.';
  }
}
